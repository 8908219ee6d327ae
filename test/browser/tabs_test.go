package browser

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestTwoTabs begins a login in each of two tabs and ends them in both orders.
func TestTwoTabs(t *testing.T) {
	for name, order := range map[string][2]int{"first tab first": {0, 1}, "second tab first": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t, nil)
			browser := startBrowser(t)
			tabs := [2]*tab{browser.tab(), browser.tab()}
			pages := [2]string{s.url + "/account?tab=1", s.url + "/account?tab=2"}
			for i, tab := range tabs {
				tab.open(pages[i])
				tab.goesToAccounts()
			}
			for _, i := range order {
				tabs[i].click("Connect")
				tabs[i].sees("My account")
				equal(t, "the address", tabs[i].address(), pages[i])
			}
			equal(t, "exchanges", s.exchanges(), 2)

			// the later login replaced the session of the earlier one, for both
			for i, tab := range tabs {
				tab.reload()
				tab.sees("My account")
				equal(t, "the address after a reload", tab.address(), pages[i])
			}
			equal(t, "visits to the bank", s.sim.Calls("authorize"), 2)
			equal(t, "sessions", len(s.sessions(tabs[0])), 1)
		})
	}
}

// TestManyTabs restores thirty tabs of a protected page at once, behind a server
// that refuses requests with more than 8 KB of header. The person connects a bank in
// any of them, and all are signed in.
func TestManyTabs(t *testing.T) {
	s := startSiteBehind(t)
	browser := startBrowser(t)
	tabs := make([]*tab, 30)
	for i := range tabs {
		tabs[i] = browser.tab()
	}
	var opening sync.WaitGroup
	for i, tab := range tabs {
		opening.Go(func() { tab.heads(fmt.Sprintf("%s/account?tab=%d&q=%s", s.url, i, strings.Repeat("x", 300))) })
	}
	opening.Wait()
	for _, tab := range tabs {
		tab.sees("Choose your bank")
	}
	logins, size := 0, 0
	for name, cookie := range tabs[0].cookies(s.url) {
		logins++
		size += len(name) + len(cookie.Value) + len("=; ")
	}
	if logins == 0 || logins > 5 || size > maxHeader*3/4 {
		t.Errorf("%d login cookies of %d bytes", logins, size)
	}
	first := tabs[0]
	first.connects()
	const came = `["My account", "We lost track of this connection"].find((words) => words === document.querySelector("h1")?.innerText) ?? null`
	if await[string](first, "the tab is back", came) != "My account" { // its login was pushed out
		first.click("Start again")
		first.connects()
		first.sees("Home")
		first.open(s.url + "/account")
	}
	first.sees("My account")
	for _, tab := range tabs[1:4] { // those whose logins were pushed out just go on
		tab.connects()
		await[bool](tab, "the tab goes on", `["My account", "Home"].includes(document.querySelector("h1")?.innerText) || null`)
	}
	tabs[29].open(s.url + "/account")
	tabs[29].sees("My account")
}
