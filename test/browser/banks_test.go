package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// pickingSite is a site with a page of its own on which visitors choose their bank.
func pickingSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t, freePort(t))
	s.run(t, s.caddyfile(t, s.url, "providers uk-ob-all uk-oauth-all uk-cs-mock ie-ob-all\n\t\tbank_picker {\n\t\t\tremember\n\t\t}"))
	return s
}

// visible is the names of the banks that the page shows.
const visible = `[...document.querySelectorAll(".banks li")].filter((li) => !li.hidden).map((li) => li.innerText.trim()).join("|")`

// TestBankPicker: a person finds a bank as they type, goes straight to it, and is offered it
// the next time. The page loads nothing from elsewhere and fits a telephone.
func TestBankPicker(t *testing.T) {
	s := pickingSite(t)
	tab := startBrowser(t).tab()
	tab.open(s.url + "/account")
	tab.sees("Choose your bank")
	equal(t, "the address", tab.address(), s.url+"/truelayer/banks?return=%2Faccount")
	all := strings.Count(tab.script(visible), "|")
	fitsNarrow(t, tab)
	tab.fill("q", "mOcK")
	if found := tab.script(visible); !strings.HasPrefix(found, "Mock") || strings.Count(found, "|") >= all {
		t.Errorf("of %d banks it shows %q", all, found)
	}
	equal(t, "pictures that did not load", tab.script(`[...document.images].filter((i) => i.complete && i.naturalWidth === 0).length+""`), "0")
	equal(t, "addresses elsewhere", len(tab.asked(s.bank)), 0)
	tab.click("Mock")
	tab.connectsAtBank()
	tab.sees("My account")
	equal(t, "the address", tab.address(), s.url+"/account")
	for name := range tab.cookies(s.url) { // as after the night
		if !strings.HasSuffix(name, "-bank") {
			get(tab, "losing the cookie", call(network.DeleteCookies, network.DeleteCookiesParams{Name: name, URL: s.url}))
		}
	}
	tab.open(s.url + "/account")
	tab.click("Continue with Mock")
	tab.connectsAtBank()
	tab.sees("My account")
	equal(t, "lists", s.sim.Calls(simulator.Providers), 1)
}

// TestBankPickerWithoutScripts: search, countries, choice and the way to TrueLayer's dialog
// need no script.
func TestBankPickerWithoutScripts(t *testing.T) {
	s := pickingSite(t)
	tab := startBrowser(t).tab()
	get(tab, "turning scripts off", call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	tab.open(s.url + "/account")
	tab.sees("Choose your bank")
	tab.fill("q", "mock")
	tab.click("Search")
	tab.until("the search is done", func() bool { return len(tab.asked(s.url+"/truelayer/banks?q=mock&return=%2Faccount")) == 1 })
	tab.fill("q", "oak")
	get(tab, "pressing Enter", chromedp.KeyEvent(kb.Enter))
	tab.until("that search is done", func() bool { return len(tab.asked(s.url+"/truelayer/banks?q=oak&return=%2Faccount")) == 1 })
	tab.click("My bank is not here")
	tab.goesToConsent() // where TrueLayer's dialog asks for the bank
	tab.click("Cancel")
	tab.sees("Your bank was not connected")
	tab.click("Try again")
	tab.sees("Choose your bank")
	equal(t, "the address", strings.HasPrefix(tab.address(), s.url+"/truelayer/banks"), true)
}
