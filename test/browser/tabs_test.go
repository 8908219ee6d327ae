package browser

import "testing"

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
