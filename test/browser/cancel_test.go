package browser

import (
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func TestCancel(t *testing.T) {
	s := startSite(t, nil)
	tab := startBrowser(t).tab()
	tab.open(s.url + "/account")
	tab.goesToConsent()
	tab.click("Cancel")
	tab.sees("Your bank was not connected")
	equal(t, "sessions", len(s.sessions(tab)), 0)

	tab.click("Back to the home page")
	tab.sees("Home")
	equal(t, "the address of the start", tab.address(), s.url+"/")

	tab.click("My account")
	tab.goesToConsent()
	tab.click("Cancel")
	tab.sees("Your bank was not connected")
	tab.click("Try again")
	tab.connects()
	tab.sees("My account")
	equal(t, "the address after the second try", tab.address(), s.url+"/account")
	equal(t, "exchanges", s.exchanges(), 1)
}

// TestCancelWithNothing cancels where the Console has no cancellation URI: the
// browser comes back without a word.
func TestCancelWithNothing(t *testing.T) {
	s := startSite(t, nil)
	s.sim.Set(func(settings *simulator.Settings) { settings.Cancelled = "nothing" })
	tab := startBrowser(t).tab()
	tab.open(s.url + "/account")
	tab.goesToConsent()
	tab.click("Cancel")
	tab.sees("Your bank was not connected")
	tab.click("Try again")
	tab.connects()
	tab.sees("My account")
	equal(t, "the address", tab.address(), s.url+"/account")
}
