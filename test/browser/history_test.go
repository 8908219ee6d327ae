package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// TestBackButton visits, after a login, all that the browser remembers of the
// way to it.
func TestBackButton(t *testing.T) {
	s := startSite(t, nil)
	tab := startBrowser(t).tab()
	tab.open(s.url)
	tab.sees("Home")
	tab.click("My account")
	tab.connects()
	tab.sees("My account")

	history := tab.history()
	equal(t, "the last entry", history.Entries[history.CurrentIndex].URL, s.url+"/account")
	for i := history.CurrentIndex - 1; i >= 0; i-- {
		switch entry := history.Entries[i]; entry.URL {
		case s.url + "/":
			tab.goesTo(entry, "Home")
		case "about:blank":
		default: // what the bank shows is its business, but it must send nobody back
			if !strings.HasPrefix(entry.URL, s.bank+"/dialog/") {
				t.Errorf("the history holds %s", entry.URL)
			}
			tab.goesTo(entry, "")
		}
	}
	tab.goesTo(history.Entries[history.CurrentIndex], "My account")

	equal(t, "exchanges", s.exchanges(), 1)
	equal(t, "callbacks", len(tab.asked(s.url+"/truelayer")), 1)
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 1)

	// the address of the callback, from wherever the browser offers it again
	tab.open(tab.asked(s.url + "/truelayer")[0])
	tab.sees("My account")
	equal(t, "the address", tab.address(), s.url+"/account")
	equal(t, "exchanges after the callback was opened again", s.exchanges(), 1)
}

// goesTo goes back or forward to a page that the browser remembers, with that
// heading if one is given. It may come from memory, without a request.
func (tab *tab) goesTo(entry *page.NavigationEntry, heading string) {
	tab.t.Helper()
	get(tab, "going to "+entry.URL, call(page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: entry.ID}))
	tab.until("the tab is at "+entry.URL, func() bool { return tab.address() == entry.URL })
	if heading != "" {
		tab.sees(heading)
	}
}

// TestReload asks for the callback again while its code is being exchanged: a
// bank's app has opened it in a new tab, and the answer is slow.
func TestReload(t *testing.T) {
	s := startSite(t, nil)
	browser := startBrowser(t)
	start := browser.tab()
	start.open(s.url + "/account")
	start.sees("Choose your bank")
	callback, err := s.sim.Grant(start.asked(s.bank + "/?")[0])
	if err != nil {
		t.Fatal(err)
	}

	answer := make(chan struct{})
	s.holdToken(answer)
	tab := browser.tab()
	tab.heads(callback)
	tab.until("the code is sent", func() bool { return s.exchanges() == 1 })
	// without it Chromium takes the same address for a key pressed twice
	get(tab, "stopping", chromedp.Stop())
	tab.heads(callback)
	tab.until("the callback is asked for again", func() bool { return len(tab.asked(callback)) == 2 })
	close(answer)

	tab.sees("My account")
	equal(t, "the address", tab.address(), s.url+"/account")
	equal(t, "exchanges", s.exchanges(), 1)

	tab.reload()
	tab.sees("My account")
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 1)
}

// heads types an address and does not wait for any answer.
func (tab *tab) heads(address string) {
	go func() { _ = chromedp.Do(tab.ctx, call(page.Navigate, page.NavigateParams{URL: address})) }()
}
