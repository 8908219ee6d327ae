package browser

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
)

// TestCookiesBlocked is a visitor whose browser keeps no cookies: a login
// cannot work, and nobody may be sent round in circles.
func TestCookiesBlocked(t *testing.T) {
	s := startSite(t, nil)
	home := t.TempDir()
	if err := os.MkdirAll(profile(home)+"/Default", 0o700); err != nil {
		t.Fatal(err)
	}
	blocked := []byte(`{"profile": {"default_content_setting_values": {"cookies": 2}}}`)
	if err := os.WriteFile(profile(home)+"/Default/Preferences", blocked, 0o600); err != nil {
		t.Fatal(err)
	}
	tab := startBrowserIn(t, home).tab()
	tab.open(s.url + "/account")
	tab.goesToAccounts()
	equal(t, "a cookie of the bank", tab.script(`document.cookie = "probe=1"; document.cookie`), "")
	equal(t, "cookies of the site", len(tab.cookies(s.url)), 0)

	before := len(tab.asked(""))
	tab.click("Connect")
	tab.sees("We lost track of this connection")
	if got := tab.text("main p"); !strings.Contains(got, "cookies are blocked") {
		t.Errorf("the page says %q", got)
	}
	// the last page of the bank and the callback
	if got := tab.asked("")[before:]; len(got) != 2 {
		t.Errorf("after the last click the tab asked for %q", got)
	}
	equal(t, "exchanges", s.exchanges(), 0)
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 1)

	tab.click("Start again") // a click, and not by itself
	tab.sees("Choose your bank")
}

// TestSessionCookieLost is a visitor whose browser keeps the cookie of the
// login and loses the one of the session.
func TestSessionCookieLost(t *testing.T) {
	s := startSite(t, nil)
	tab := startBrowser(t).tab()
	tab.open(s.url + "/account")
	tab.connects()
	tab.sees("My account")
	for _, name := range s.sessions(tab) {
		get(tab, "losing the cookie", call(network.DeleteCookies, network.DeleteCookiesParams{Name: name, URL: s.url}))
	}
	tab.reload()
	tab.sees("Your session did not last")
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 1)
	tab.click("Connect again")
	tab.connects()
	tab.sees("My account")
}
