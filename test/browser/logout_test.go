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
	tab.sees("You are signed out")
	equal(t, "where it leads", tab.address(), s.url+"/truelayer/logout?done")
	equal(t, "sessions", len(s.sessions(tab)), 0)
	tab.reload()
	tab.sees("You are signed out")
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 1)

	tab.click("Connect your bank")
	tab.connects()
	tab.sees("Home")
	tab.click("My account")
	tab.sees("My account")
	equal(t, "exchanges", s.exchanges(), 2)
}

// TestBackAfterLogout goes back to a private page after signing out. It is neither
// in the browser's cache, although it may be kept for an hour, nor in its memory.
func TestBackAfterLogout(t *testing.T) {
	s := startSite(t, map[string]string{"/account/kept": `<h1>Private</h1><a href="/truelayer/logout">Leave</a>`})
	tab := startBrowser(t).tab()
	tab.open(s.url + "/account/kept")
	tab.connects()
	tab.sees("Private")
	private := tab.history()
	tab.click("Leave")
	tab.sees("Sign out?")
	tab.click("Sign out")
	tab.sees("You are signed out")
	tab.goesTo(private.Entries[private.CurrentIndex], "Choose your bank")
}
