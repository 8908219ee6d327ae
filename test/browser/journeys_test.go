package browser

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// way is how much of a login happens on the site itself.
type way struct {
	name, options string
	picks         bool // the bank is chosen on the site
	consents      bool // and the visitor consents there
}

const (
	ownPicker  = "bank_picker"
	ownConsent = `
		consent {
			controller "Payroll Ltd"
			purpose    "We check that the account to which we pay your salary is yours."
			terms_url  https://app.example.com/terms
		}`
)

var ways = []way{
	{name: "TrueLayer's dialog"},
	{name: "own picker", options: ownPicker, picks: true},
	{name: "own consent", options: ownPicker + ownConsent, picks: true, consents: true},
}

// journey is a person on the way to a bank.
type journey struct {
	*tab
	site *site
	way  way
}

// startJourney starts a site for a way, and a person who opens its account page.
func startJourney(t *testing.T, b *browser, w way) journey {
	t.Helper()
	s := newSite(t, freePort(t))
	s.run(t, s.caddyfile(t, s.url, "scopes verification offline_access\n\t\tproviders uk-ob-all uk-cs-mock stet-mutuelle-lavande\n\t\t"+w.options))
	j := journey{b.tab(), s, w}
	get(j.tab, "forgetting the last site", call(network.ClearBrowserCookies, cdp.Empty{}))
	return j
}

// goesToBank goes from the choice of a bank to the bank's own login. bank is the bank's
// name, and choice what the bank needs to know before.
func (j journey) goesToBank(bank, choice string) {
	j.t.Helper()
	j.sees("Choose your bank")
	equal(j.t, "who lets people choose", strings.HasPrefix(j.address(), j.site.url+"/truelayer/banks"), j.way.picks)
	j.click(bank)
	j.agrees(bank, choice)
}

// agrees consents to what is shared, and waits for the bank's own login.
func (j journey) agrees(bank, choice string) {
	j.t.Helper()
	if !j.way.consents {
		j.text(".asked")
		j.click("Allow")
		j.sees("Log in")
		return
	}
	j.sees("Connect " + bank)
	fitsNarrow(j.t, j.tab)
	j.fill("field0", "John Doe")
	j.fill("field1", "john@example.com")
	if choice != "" {
		j.script(`(document.getElementById("field2").value = "` + choice + `", "")`)
	}
	j.click("Agree and go to " + bank)
	j.sees("Log in")
	if dialogs := j.asked(j.site.bank + "/?"); len(dialogs) > 0 {
		j.t.Errorf("TrueLayer's dialog was opened: %v", dialogs)
	}
}

// connectsThere logs in at the bank and shares the accounts.
func (j journey) connectsThere() {
	j.t.Helper()
	j.fill("username", "john")
	j.fill("password", "doe")
	j.click("Log in")
	j.sees("Hello John Doe")
	j.click("Connect")
	j.sees("My account")
	equal(j.t, "the address", j.address(), j.site.url+"/account")
}

// isTold waits for the summary of what is wrong, which has the keyboard's focus.
func (j journey) isTold(heading string) {
	j.t.Helper()
	await[bool](j.tab, "the summary says "+heading, `document.activeElement.className === "summary" && document.querySelector(".summary h2").innerText === "`+heading+`" || null`)
}

// bankFails has the bank send the person back with an error.
func (j journey) bankFails() {
	j.t.Helper()
	if j.way.consents {
		j.fill("username", "error.provider_error")
		j.fill("password", "x")
		j.click("Log in")
		return
	}
	// what TrueLayer's dialog does then
	links := j.asked(j.site.bank + "/?")
	link, err := url.Parse(links[len(links)-1])
	if err != nil {
		j.t.Fatal(err)
	}
	j.open(j.site.url + "/truelayer?error=provider_error&state=" + link.Query().Get("state"))
}

// TestJourneys clicks through a login in each of the three ways, with all that can happen
// on it.
func TestJourneys(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			b := startBrowser(t)
			for name, test := range map[string]func(journey){
				"success": func(j journey) {
					j.open(j.site.url + "/account")
					j.goesToBank("Mock", "")
					j.connectsThere()
					equal(j.t, "TrueLayer was told of a consent", j.site.sim.Calls(simulator.AuthURI) == 1, j.way.consents)
				},
				"cancelled at the bank": func(j journey) {
					j.open(j.site.url + "/account")
					j.goesToBank("Mock", "")
					j.click("Cancel")
					j.sees("Your bank was not connected")
					j.click("Try again")
					j.goesToBank("Mock", "")
					j.connectsThere()
				},
				"the bank fails": func(j journey) {
					j.open(j.site.url + "/account")
					j.goesToBank("Mock", "")
					j.bankFails()
					j.sees("Your bank could not be connected")
					j.click("Try again")
					j.goesToBank("Mock", "")
					j.connectsThere()
				},
				"a bank with steps": func(j journey) {
					j.open(j.site.url + "/account")
					j.goesToBank("Mutuelle Lavande", "stet-mutuelle-lavande-drome")
					j.connectsThere()
				},
				"no list of banks": func(j journey) {
					j.site.sim.Fail(simulator.Providers, simulator.Fault{Status: http.StatusServiceUnavailable})
					j.way.picks, j.way.consents = false, false // all ways lead to TrueLayer's dialog
					j.open(j.site.url + "/account")
					j.goesToBank("Mock", "")
					j.connectsThere()
				},
				"the consent ends": func(j journey) {
					j.site.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = 1e9 })
					j.open(j.site.url + "/account")
					j.goesToBank("Mock", "")
					j.connectsThere()
					j.site.sim.RevokeConsents()
					j.until("the token is over", func() bool {
						j.open(j.site.url + "/account")
						return j.text("h1") == "Your bank connection has ended"
					})
					j.click("Connect your bank again") // at the same bank, without the choice
					j.agrees("Mock", "")
					j.connectsThere()
				},
			} {
				t.Run(name, func(t *testing.T) {
					j := startJourney(t, &browser{t: t, ctx: b.ctx}, w)
					test(j)
				})
			}
		})
	}
}

// TestOwnConsentInTheBrowser: a person who enters nothing, goes back, waits too long or
// does not agree always finds a next step.
func TestOwnConsentInTheBrowser(t *testing.T) {
	j := startJourney(t, startBrowser(t), ways[2])
	j.open(j.site.url + "/account")
	j.sees("Choose your bank")
	j.click("Mock")
	j.sees("Connect Mock")
	j.click("Choose another bank")
	j.sees("Choose your bank")
	j.click("Mock")
	j.sees("Connect Mock")
	j.click("Cancel and share nothing")
	j.sees("Your bank was not connected")
	j.click("Connect your bank")
	j.sees("Choose your bank")
	j.click("Mock")

	j.sees("Connect Mock")
	j.fill("field0", "John Doe")
	j.click("Agree and go to Mock")
	j.isTold("Please correct this")
	j.script(`(document.querySelector(".summary a").click(), "")`)
	equal(t, "the way to the field", j.script(`location.hash`), "#field1")
	fitsNarrow(t, j.tab)
	equal(t, "the name", j.script(`document.getElementById("field0").value`), "John Doe")
	equal(t, "links", j.site.sim.Calls(simulator.AuthURI), 0)

	for name := range j.cookies(j.site.url) { // as after an hour
		get(j.tab, "losing the cookie", call(network.DeleteCookies, network.DeleteCookiesParams{Name: name, URL: j.site.url}))
	}
	j.fill("field1", "john@example.com")
	j.click("Agree and go to Mock")
	j.isTold("We did not receive your consent")
	equal(t, "the name", j.script(`document.getElementById("field0").value`), "John Doe")
	j.click("Agree and go to Mock")
	j.sees("Log in")
	j.open(j.site.url + "/account")
	j.goesToBank("Mock", "")
	j.script(`(history.back(), "")`) // from the bank
	j.sees("Connect Mock")
	j.agrees("Mock", "")
	j.connectsThere()
	equal(t, "addresses elsewhere", len(j.asked("https://")), 0)
}

// TestOwnConsentFails: when TrueLayer gives no link, a person is told so, or goes to its
// dialog if the site says so.
func TestOwnConsentFails(t *testing.T) {
	b := startBrowser(t)
	j := startJourney(t, b, ways[2])
	j.site.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Status: http.StatusInternalServerError})
	j.open(j.site.url + "/account")
	j.sees("Choose your bank")
	j.click("Mock")
	j.sees("Connect Mock")
	j.fill("field0", "John Doe")
	j.fill("field1", "john@example.com")
	j.click("Agree and go to Mock")
	j.isTold("We cannot send you to your bank")
	j.click("Agree and go to Mock")
	j.sees("Log in")
	j.connectsThere()

	w := ways[2]
	w.options = strings.Replace(w.options, "controller", "fallback_dialog\n\t\t\tcontroller", 1)
	j = startJourney(t, b, w)
	j.site.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Status: http.StatusInternalServerError})
	j.open(j.site.url + "/account")
	j.sees("Choose your bank")
	j.click("Mock")
	j.sees("Connect Mock")
	j.fill("field0", "John Doe")
	j.fill("field1", "john@example.com")
	j.click("Agree and go to Mock")
	j.text(".asked") // TrueLayer's, without the choice of a bank
	j.click("Allow")
	j.sees("Log in")
	j.connectsThere()
}
