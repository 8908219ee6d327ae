package browser

import (
	"net/http"
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

// TestConnectionTroubles: TrueLayer refuses to renew and is away when a person disconnects;
// the person comes back in another browser; and signs out, and in again.
func TestConnectionTroubles(t *testing.T) {
	s := newSite(t, freePort(t))
	s.run(t, s.caddyfile(t, s.url, "scopes verification offline_access\n\t\tproviders uk-cs-mock"))
	s.sim.Set(func(settings *simulator.Settings) { settings.ConsentLifetime = 3 * 24 * time.Hour })
	tab := startBrowser(t).tab()
	page := s.url + "/truelayer/connection"
	connect := func() {
		tab.open(page)
		tab.click("Connect your bank")
		tab.connects()
		tab.sees("Your bank connection")
	}
	connect()

	s.sim.Fail(simulator.ReauthURI, simulator.Fault{Times: 1, Status: http.StatusUnauthorized})
	tab.click("Renew the connection")
	tab.connectsAtBank()
	tab.sees("Your bank connection")
	equal(t, "sessions after a renewal that was refused", len(s.sessions(tab)), 1)

	tab.click("Sign out")
	tab.sees("You are signed out")
	connect()

	s.sim.Fail(simulator.Delete, simulator.Fault{Status: http.StatusServiceUnavailable})
	tab.click("Disconnect my bank")
	tab.sees("Your bank is disconnected here")
	if text := tab.text("main"); !strings.Contains(text, "look for the list of services that have access") {
		t.Error(text)
	}
	equal(t, "sessions", len(s.sessions(tab)), 0)

	tab.open(s.url + "/account")
	tab.sees("Choose your bank")
	links := tab.asked(s.bank + "/?")
	callback, err := s.sim.Grant(links[len(links)-1])
	if err != nil {
		t.Fatal(err)
	}
	other := startBrowser(t).tab()
	other.open(callback)
	other.sees("We lost track of this connection")
	if text := other.text("main"); !strings.Contains(text, "open this site in your usual browser") {
		t.Error(text)
	}
}
