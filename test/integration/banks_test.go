package integration

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// everyBank covers what the simulator has in several countries.
const everyBank = "providers uk-ob-all uk-oauth-all uk-cs-mock ie-ob-all\n\t\t"

func startPicker(t *testing.T, options string) *world {
	t.Helper()
	return start(t, plain, func(w *world) { w.Options = everyBank + options })
}

// picked is where a link on the page leads.
func (w *world) picked(t *testing.T, b *browser, target string) url.Values {
	t.Helper()
	a := b.navigate(w.Site + target)
	equal(t, "status", a.StatusCode, http.StatusSeeOther)
	if !strings.HasPrefix(a.location(), w.AuthServer+"/?") {
		t.Fatalf("%s leads to %s", target, a.location())
	}
	link, err := url.Parse(a.location())
	if err != nil {
		t.Fatal(err)
	}
	return link.Query()
}

var bankLink = regexp.MustCompile(`href="(/truelayer/login\?provider=[^"]+)"`)

// TestBankPicker: a visitor chooses a bank on the site's own page and goes straight to it.
func TestBankPicker(t *testing.T) {
	w := startPicker(t, "bank_picker")
	b := w.browser()
	sent := b.navigate(w.Site + "/page?a=b")
	equal(t, "status", sent.StatusCode, http.StatusSeeOther)
	equal(t, "Location", sent.location(), "/truelayer/banks?return=%2Fpage%3Fa%3Db")
	page := b.navigate(w.Site + sent.location())
	equal(t, "status of the page", page.StatusCode, http.StatusOK)
	equal(t, "Cache-Control", page.Header.Get("Cache-Control"), "no-store")
	for _, want := range []string{"Choose your bank", "localhost", "Mock", "/truelayer/login?dialog=1&amp;return=%2Fpage%3Fa%3Db", "<form"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	links := bankLink.FindAllStringSubmatch(page.body, -1)
	if len(links) < 5 {
		t.Fatalf("%d banks", len(links))
	}
	link := "/truelayer/login?provider=mock&return=%2Fpage%3Fa%3Db"
	if !strings.Contains(page.body, strings.ReplaceAll(link, "&", "&amp;")) {
		t.Fatalf("no link to the mock bank: %s", page.body)
	}
	equal(t, "provider_id", w.picked(t, b, link).Get("provider_id"), "mock")
	callback, err := w.sim.Grant(b.navigate(w.Site + link).location())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "then", b.navigate(callback).location(), "/page?a=b")
	equal(t, "with a session", b.navigate(w.Site+"/truelayer/banks?return=/page").location(), "/page")
	equal(t, "lists that were fetched", w.sim.Calls(simulator.Providers), 1)
	for _, policy := range []string{"default-src 'none'", "img-src 'self'", "form-action 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(page.Header.Get("Content-Security-Policy"), policy) {
			t.Errorf("the policy is %s", page.Header.Get("Content-Security-Policy"))
		}
	}
}

// shownBank is a bank on the page that is not hidden.
var shownBank = regexp.MustCompile(`<li data-key="[^"]*">`)

// TestBankSearch: search and countries work without a script, and what is typed is text.
func TestBankSearch(t *testing.T) {
	w := startPicker(t, "bank_picker")
	banks := func(query string) int {
		t.Helper()
		a := w.browser().navigate(w.Site + "/truelayer/banks?" + query)
		equal(t, "status", a.StatusCode, http.StatusOK)
		return len(shownBank.FindAllString(a.body, -1))
	}
	all := banks("")
	if n := banks("q=MOCK"); n < 1 || n >= all {
		t.Errorf("%d of %d banks are called mock", n, all)
	}
	equal(t, "no bank", banks("q=nobody+has+this+name"), 0)
	equal(t, "with accents and spaces", banks("q=+HÁRBOUR++bank"), banks("q=harbour+bank"))
	equal(t, "a search goes through all countries", banks("q=mock&country=ie"), banks("q=mock"))
	equal(t, "a country that there is not", banks("country=zz"), all)
	uk := banks("country=uk")
	if ie := banks("country=ie"); ie == 0 || uk == 0 || uk+ie > all {
		t.Errorf("%d in one country and %d in another, of %d", uk, ie, all)
	}
	for _, odd := range []string{`q="><script>alert(1)</script>`, "q=" + strings.Repeat("ä", 1000), "q=%00%ff", "country=\"><b>", "return=//evil.example", "q=a&q=b", "%"} {
		a := w.browser().navigate(w.Site + "/truelayer/banks?" + strings.NewReplacer(" ", "%20", `"`, "%22", "<", "%3C", ">", "%3E").Replace(odd))
		if strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "<b>") || strings.Contains(a.body, "evil.example") {
			t.Errorf("%s: %s", odd, a.body)
		}
	}
}

// TestOneBankOnly: with provider_id there is nothing to choose.
func TestOneBankOnly(t *testing.T) {
	w := startPicker(t, "provider_id mock\n\t\tbank_picker"+consentOptions(""))
	a := w.browser().navigate(w.Site + "/truelayer/banks")
	equal(t, "the page with the banks, which is the application's", a.location(), "/truelayer/consent?provider=mock")
	page, _ := w.consentForm(t, w.browser(), consentOfMock)
	if strings.Contains(page.body, "Choose another bank") {
		t.Error("the consent page leads to a choice")
	}
}

// TestBankLinks: a link to a bank leads there if it can, and else to TrueLayer's dialog.
func TestBankLinks(t *testing.T) {
	for name, test := range map[string]struct {
		options, provider, want string
	}{
		"a bank":                               {everyBank, "mock", "mock"},
		"with the picker":                      {everyBank + "bank_picker", "mock", "mock"},
		"one that is not listed":               {everyBank, "ob-nobody", ""},
		"one that is not covered":              {"providers uk-ob-all", "mock", ""},
		"provider_id holds":                    {everyBank + "provider_id mock", "ob-monzo", "mock"},
		"a bank that asks for a choice":        {"providers stet-mutuelle-lavande", "stet-mutuelle-lavande", "stet-mutuelle-lavande"},
		"a bank that asks for a number":        {"providers xs2a-nordlicht", "xs2a-nordlicht", ""},
		"a bank that asks for a PIN":           {"providers xs2a-falkenstein", "xs2a-falkenstein", ""},
		"a group whose members nobody knows":   {"providers de-xs2a-all", "xs2a-lindenbank", ""},
		"a group of which the bank is no part": {"providers uk-ob-all", "ob-shannon", ""},
		"no id":                                {everyBank, "%22%3E%3Cscript%3E", ""},
		"an id that is far too long":           {everyBank, strings.Repeat("a", 5000), ""},
		"empty":                                {everyBank, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Options = test.options })
			equal(t, "provider_id", w.picked(t, w.browser(), "/truelayer/login?return=/page&provider="+test.provider).Get("provider_id"), test.want)
		})
	}
}

// TestNoBanks: without a list visitors go to TrueLayer's dialog. The list that cannot be had
// is not asked for by everybody.
func TestNoBanks(t *testing.T) {
	w := startPicker(t, "bank_picker")
	w.sim.Fail(simulator.Providers, simulator.Fault{Status: http.StatusBadGateway})
	for range 20 {
		b := w.browser()
		a := b.navigate(w.Site + "/truelayer/banks?return=/page")
		equal(t, "Location", a.location(), "/truelayer/login?dialog=1&return=%2Fpage")
		equal(t, "provider_id", w.picked(t, b, a.location()).Get("provider_id"), "")
		equal(t, "a link", w.picked(t, b, "/truelayer/login?provider=mock").Get("provider_id"), "")
	}
	equal(t, "attempts", w.sim.Calls(simulator.Providers), 1)
}

// TestUnhealthyBank: a bank that does not work is shown and not offered.
func TestUnhealthyBank(t *testing.T) {
	w := startPicker(t, "bank_picker")
	w.sim.Set(func(s *simulator.Settings) { s.Unhealthy = []string{"mock"} })
	a := w.browser().navigate(w.Site + "/truelayer/banks")
	if !strings.Contains(a.body, "not available right now") || strings.Contains(a.body, "provider=mock") {
		t.Errorf("%s", a.body)
	}
}

// TestLogos: they come from the site's own address, and run nothing.
func TestLogos(t *testing.T) {
	w := startPicker(t, "bank_picker")
	page := w.browser().navigate(w.Site + "/truelayer/banks")
	if !strings.Contains(page.body, `src="/truelayer/banks?logo=mock"`) || strings.Contains(page.body, w.AuthServer) {
		t.Errorf("%s", page.body)
	}
	for range 3 {
		logo := w.browser().do(http.MethodGet, w.Site+"/truelayer/banks?logo=mock")
		equal(t, "status", logo.StatusCode, http.StatusOK)
		equal(t, "Content-Type", logo.Header.Get("Content-Type"), "image/svg+xml")
		equal(t, "nosniff", logo.Header.Get("X-Content-Type-Options"), "nosniff")
		equal(t, "Cross-Origin-Resource-Policy", logo.Header.Get("Cross-Origin-Resource-Policy"), "same-origin")
		if policy := logo.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "sandbox") {
			t.Errorf("the policy is %s", policy)
		}
	}
	for _, id := range []string{"ob-nobody", "../../etc/passwd", strings.Repeat("a", 3000)} {
		equal(t, id, w.browser().do(http.MethodGet, w.Site+"/truelayer/banks?logo="+url.QueryEscape(id)).StatusCode, http.StatusNotFound)
	}
}

// TestRememberedBank: a browser that has connected a bank is offered it first, if the site
// wants that. The application never sees the cookie.
func TestRememberedBank(t *testing.T) {
	for _, remember := range []bool{true, false} {
		options := "bank_picker"
		if remember {
			options = "bank_picker {\nremember\n}"
		}
		w := startPicker(t, options)
		b := w.browser()
		callback, err := w.sim.Grant(b.navigate(w.Site + "/truelayer/login?provider=mock").location())
		if err != nil {
			t.Fatal(err)
		}
		b.navigate(callback)
		equal(t, "page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
		_, got := w.app.requests()
		equal(t, "cookies upstream", got.Header.Get("Cookie"), "")
		var remembered []string // what is left after the night
		for cookie := range strings.SplitSeq(b.cookies(w.Site), "; ") {
			if name, _, _ := strings.Cut(cookie, "="); strings.HasSuffix(name, "-bank") {
				remembered = append(remembered, cookie)
			}
		}
		again := w.browser().do(http.MethodGet, w.Site+"/truelayer/banks", "Cookie", strings.Join(remembered, "; "))
		equal(t, "offered first", strings.Contains(again.body, "Continue with"), remember)
		b.do(http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
		page := b.navigate(w.Site + "/truelayer/banks")
		equal(t, "offered after signing out", strings.Contains(page.body, "Continue with"), false)
	}
}

// TestFloodOfBanks: whoever asks for the page and its logos asks TrueLayer nothing more.
func TestFloodOfBanks(t *testing.T) {
	w := startPicker(t, "bank_picker")
	for range 200 {
		w.browser().navigate(w.Site + "/truelayer/banks?q=x")
		w.browser().do(http.MethodGet, w.Site+"/truelayer/banks?logo=mock")
		w.browser().do(http.MethodGet, w.Site+"/truelayer/banks?logo=made-up")
	}
	equal(t, "lists", w.sim.Calls(simulator.Providers), 1)
	equal(t, "logos", w.sim.Calls(simulator.Logo), 1)
	// a long way back is not repeated for each bank
	page := w.browser().navigate(w.Site + "/truelayer/banks?return=%2F%3F" + strings.Repeat("%26", 1900))
	if len(page.body) > 256<<10 {
		t.Errorf("a page of %d bytes", len(page.body))
	}
}

// TestBankSearchWithoutAList: a browser does not follow a form to TrueLayer, so the answer
// to a search is a page.
func TestBankSearchWithoutAList(t *testing.T) {
	w := startPicker(t, "bank_picker")
	w.sim.Fail(simulator.Providers, simulator.Fault{Status: http.StatusBadGateway})
	a := w.browser().navigate(w.Site + "/truelayer/banks?q=mock&return=/page")
	equal(t, "status", a.StatusCode, http.StatusOK)
	if !strings.Contains(a.body, "cannot be shown right now") || !strings.Contains(a.body, "/truelayer/login?dialog=1&amp;return=%2Fpage") || strings.Contains(a.body, "<form") {
		t.Errorf("%s", a.body)
	}
}

// TestLogosThatCannotBeHad: the page shows something in their place.
func TestLogosThatCannotBeHad(t *testing.T) {
	w := startPicker(t, "bank_picker")
	w.sim.Fail(simulator.Logo, simulator.Fault{Status: http.StatusInternalServerError})
	w.browser().navigate(w.Site + "/truelayer/banks")
	a := w.browser().do(http.MethodGet, w.Site+"/truelayer/banks?logo=mock")
	if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(a.body, "<svg") {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
}
