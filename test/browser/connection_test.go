package browser

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestConnectionPage: without scripts, a person looks at the connection, renews it at the
// bank, comes back to the page, cancels another renewal, and disconnects.
func TestConnectionPage(t *testing.T) {
	s := newSite(t, freePort(t))
	s.run(t, s.caddyfile(t, s.url, "scopes verification offline_access\n\t\tproviders uk-cs-mock"))
	s.sim.Set(func(settings *simulator.Settings) { settings.ConsentLifetime = 3 * 24 * time.Hour })
	tab := startBrowser(t).tab()
	get(tab, "turning scripts off", call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	page := s.url + "/truelayer/connection"
	tab.open(page)
	tab.sees("No bank is connected")
	tab.click("Connect your bank")
	tab.connects()
	tab.sees("Your bank connection")
	equal(t, "the address", tab.address(), page)
	fitsNarrow(t, tab)
	first := s.sessions(tab)

	tab.click("Renew the connection")
	tab.sees("Log in")
	tab.fill("username", "john")
	tab.fill("password", "doe")
	tab.click("Log in")
	tab.sees("Hello John Doe")
	tab.click("Connect")
	tab.sees("Your bank connection")
	equal(t, "the address", tab.address(), page)
	equal(t, "sessions", len(s.sessions(tab)), len(first))

	tab.click("Renew the connection")
	tab.sees("Log in")
	tab.click("Cancel")
	tab.sees("Your bank was not connected")
	if text := tab.text("main"); !strings.Contains(text, "Your earlier connection goes on as before") {
		t.Error(text)
	}
	tab.click("Go back")
	tab.sees("Your bank connection")

	tab.click("Disconnect my bank")
	tab.sees("Your bank is disconnected")
	equal(t, "where it leads", tab.address(), s.url+"/truelayer/disconnect?ended")
	equal(t, "sessions", len(s.sessions(tab)), 0)
	tab.reload()
	tab.sees("Your bank is disconnected")
	equal(t, "disconnects", s.sim.Calls(simulator.Delete), 1)
	equal(t, "renewals", s.sim.Calls(simulator.ReauthURI), 2)
}
