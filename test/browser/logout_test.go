package browser

import "testing"

// TestLogout signs out by the page's button, and the next visit begins at the
// bank again, not on a page about a session that was lost.
func TestLogout(t *testing.T) {
	s := startSite(t, nil)
	tab := startBrowser(t).tab()
	tab.open(s.url + "/account")
	tab.connects()
	tab.sees("My account")

	tab.open(s.url + "/truelayer/logout")
	tab.sees("Sign out?")
	equal(t, "sessions while it asks", len(s.sessions(tab)), 1)
	tab.click("Sign out")
	tab.sees("Home")
	equal(t, "where it leads", tab.address(), s.url+"/")
	equal(t, "sessions", len(s.sessions(tab)), 0)

	tab.click("My account")
	tab.connects()
	tab.sees("My account")
	equal(t, "exchanges", s.exchanges(), 2)
}
