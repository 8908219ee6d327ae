package integration

import (
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestConsentSteps: what a bank needs to know before is chosen on the page.
func TestConsentSteps(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "providers stet-mutuelle-lavande xs2a-sparverein" + consentOptions("") })
	b := w.browser()
	page, form := w.consentForm(t, b, "/truelayer/consent?provider=stet-mutuelle-lavande")
	for _, want := range []string{"Branch name", "Choose your branch", "Mutuelle Lavande de la Drôme", `<select id="field2" name="step:branch-name" required`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	for _, wrong := range []string{"", "stet-other"} {
		form.Set("step:branch-name", wrong)
		again := w.consent(t, b, form)
		equal(t, "status", again.StatusCode, http.StatusUnprocessableEntity)
		equal(t, "problem", fmt.Sprint(problemText.FindAllStringSubmatch(again.body, -1)[0][1]), "Error: Choose one of the options.")
		if !strings.Contains(again.body, `value="Ada Byron-Lovelace"`) || !strings.Contains(again.body, `value="ada.lovelace@example.org"`) {
			t.Error("what was entered is gone")
		}
	}
	form.Set("step:branch-name", "stet-mutuelle-lavande-drome")
	if a := w.consent(t, b, form); !strings.HasPrefix(a.location(), w.AuthServer+"/bank/stet-mutuelle-lavande/") {
		t.Fatalf("%d %s %s", a.StatusCode, a.location(), a.body)
	}
	equal(t, "inputs", fmt.Sprint(w.sim.LastAuthURIRequest().AuthInputs), "[{branch-name stet-mutuelle-lavande-drome}]")

	b = w.browser()
	_, form = w.consentForm(t, b, "/truelayer/consent?provider=xs2a-sparverein") // the second step is voluntary
	form.Set("step:customer-kind", "business")
	if a := w.consent(t, b, form); !strings.HasPrefix(a.location(), w.AuthServer+"/bank/xs2a-sparverein/") {
		t.Fatalf("%d %s %s", a.StatusCode, a.location(), a.body)
	}
	equal(t, "inputs", fmt.Sprint(w.sim.LastAuthURIRequest().AuthInputs), "[{customer-kind business}]")
}

// TestConsentFields: what is wrong is said, nothing of it is lost, and TrueLayer is not
// asked.
func TestConsentFields(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	for field, values := range map[string][]string{
		"name":  {"", "   ", strings.Repeat("a", 201), "a\x00b", "a\u202eb", "\xff", "a\r\nb"},
		"email": {"", "ada", "Ada <ada@example.com>", "a@b\r\nc", strings.Repeat("a", 250) + "@example.com", "<script>@"},
	} {
		for _, value := range values {
			changed := maps.Clone(form)
			changed.Set(field, value)
			a := w.consent(t, b, changed)
			if a.StatusCode != http.StatusUnprocessableEntity || len(problemText.FindAllString(a.body, -1)) != 1 || strings.Contains(a.body, "<script>") {
				t.Errorf("%s %q: %d %s", field, value, a.StatusCode, a.body)
			}
		}
	}
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 0)
	form.Set("name", "  Zoë O'Neil ")
	equal(t, "status", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
	equal(t, "name", w.sim.LastAuthURIRequest().User.Name, "Zoë O'Neil")
}

// TestConsentUser: what an earlier handler knows of the visitor is shown and not asked
// for, and a browser cannot change it.
func TestConsentUser(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = "vars who \"Grace Hopper\"\nvars mail {header.X-Mail}"
		w.Options = everyBank + "bank_picker" + consentOptions("user {vars.who} {vars.mail}")
	})
	b := w.browser()
	page, form := w.consentForm(t, b, consentOfMock)
	if !strings.Contains(page.body, "that you are Grace Hopper.") || strings.Contains(page.body, `name="name"`) || !strings.Contains(page.body, `name="email"`) {
		t.Error(page.body)
	}
	equal(t, "status", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
	equal(t, "user", w.sim.LastAuthURIRequest().User, simulator.User{Name: "Grace Hopper", Email: person["email"][0]})

	for mail, known := range map[string]bool{"grace@example.com": true, "not one": false} {
		a := b.do(http.MethodGet, w.Site+consentOfMock, append([]string{"X-Mail", mail}, asNavigation...)...)
		if strings.Contains(a.body, `name="email"`) == known {
			t.Errorf("%s: %s", mail, a.body)
		}
	}
}

// TestWhoMayConsent: only the page itself, in the browser that it was shown to, soon after
// that. Nothing else asks TrueLayer for anything.
func TestWhoMayConsent(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = everyBank + "bank_picker\nallow_origins https://friend.example.com" + consentOptions("")
	})
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	for name, header := range map[string][]string{
		"another site":       {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
		"an allowed origin":  {"Origin", "https://friend.example.com", "Sec-Fetch-Site", "cross-site"},
		"a sibling":          {"Origin", w.Site, "Sec-Fetch-Site", "same-site"},
		"another port":       {"Origin", "http://localhost:1"},
		"null":               {"Origin", "null"},
		"no origin":          {"Origin", ""},
		"no origin and site": {"Origin", "", "Sec-Fetch-Site", ""},
	} {
		a := w.consent(t, b, form, header...)
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "foreign_form") || !strings.Contains(a.body, "/truelayer/login?return=%2Fpage") {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	expired := func(name string, a *answer) {
		t.Helper()
		again := tokenField.MatchString(a.body)
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "consent_form_expired") || !again && !strings.Contains(a.body, "/truelayer/login?return=%2Fpage") {
			t.Errorf("%s: %d %s %s", name, a.StatusCode, a.location(), a.body)
		}
	}
	lost := w.consent(t, w.browser(), form)
	expired("another browser", lost)
	if !strings.Contains(lost.body, `value="Ada Byron-Lovelace"`) {
		t.Error("what was entered is gone")
	}
	other := w.browser()
	w.consentForm(t, other, consentOfMock)
	expired("another browser's form", w.consent(t, other, form))
	for name, token := range map[string]string{"no token": "", "nonsense": "AAAA", "changed": form.Get("token")[1:], "long": strings.Repeat("A", 30_000)} {
		changed := maps.Clone(form)
		changed.Set("token", token)
		expired(name, w.consent(t, b, changed))
	}
	login := ""
	for _, c := range b.navigate(w.Site + "/truelayer/login?dialog=1").Cookies() {
		login = c.Value
	}
	changed := maps.Clone(form)
	changed.Set("token", login)
	expired("a login's cookie", w.consent(t, b, changed))
	expired("too large", w.consent(t, b, url.Values{"token": {form.Get("token")}, "name": {strings.Repeat("a", 40_000)}}))
	expired("no form", w.consent(t, b, form, "Content-Type", "text/plain"))
	a := b.do(http.MethodPut, w.Site+consentOfMock)
	equal(t, "PUT", a.StatusCode, http.StatusMethodNotAllowed)
	equal(t, "Allow", a.Header.Get("Allow"), "GET, HEAD, POST")
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 0)
	equal(t, "the form still works", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
}

// TestConsentToAnotherText: who read another text consents once more.
func TestConsentToAnotherText(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	w.Options = strings.Replace(w.Options, "We check that", "We sell it, and check that", 1)
	if err := w.load(audited); err != nil {
		t.Fatal(err)
	}
	a := w.consent(t, b, form)
	if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "consent_form_expired") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 0)
}

// TestConsentBodyStaysHere: what a visitor has entered does not reach error routes, however
// far the module has read it, and they work.
func TestConsentBodyStaysHere(t *testing.T) {
	for _, header := range [][]string{nil, {"Origin", ""}} {
		w := start(t, plain, func(w *world) {
			w.Options = everyBank + "bank_picker\ndisable_error_pages" + consentOptions("")
			w.After = "handle_errors {\nreverse_proxy " + w.App + "\n}"
		})
		var sent string
		w.app.answer(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			sent = string(body)
			fmt.Fprint(w, "own page")
		})
		b := w.browser()
		_, form := w.consentForm(t, b, consentOfMock)
		w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Status: http.StatusInternalServerError})
		if a := w.consent(t, b, form, header...); a.body != "own page" || sent != "" {
			t.Errorf("%v: %d %s, the route got %q", header, a.StatusCode, a.body, sent)
		}
	}
}

// TestConsentBehindARewrite: what a rewrite makes of the address has no effect.
func TestConsentBehindARewrite(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = "rewrite * /index.php?path={path};x=%zz"
		w.Options = everyBank + "bank_picker" + consentOptions("")
	})
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	equal(t, "status", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
}

// TestConsentOnAnotherHost: the page is shown on the redirect URI's host, where its form
// works, and a proxy that changes the host causes no loop.
func TestConsentOnAnotherHost(t *testing.T) {
	w := startConsent(t, "")
	elsewhere := strings.Replace(w.Site, "localhost", "127.0.0.1", 1)
	text, err := w.adapt(strings.Replace(audited, "http://localhost:{{.Port}} {", "http://localhost:{{.Port}}, http://127.0.0.1:{{.Port}} {", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(text, true); err != nil {
		t.Fatal(err)
	}
	sent := w.browser().navigate(elsewhere + consentOfMock)
	equal(t, "Location", sent.location(), w.Site+consentOfMock+"&moved=1")
	equal(t, "behind a proxy that changes the host", w.browser().navigate(elsewhere+consentOfMock+"&moved=1").StatusCode, http.StatusOK)
}

// TestConsentOfSomebodyElse: a form that said that the visitor is one person is not taken for
// another.
func TestConsentOfSomebodyElse(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = "sign_in"
		w.Options = everyBank + "bank_picker" + consentOptions("user {http.sign_in.name}")
	})
	b := w.browser()
	page := b.do(http.MethodGet, w.Site+consentOfMock, append([]string{"X-Number", "2"}, asNavigation...)...)
	form := url.Values{"token": {html.UnescapeString(tokenField.FindStringSubmatch(page.body)[1])}, "email": person["email"]}
	for _, other := range []string{"3", ""} {
		if a := w.consent(t, b, form, "X-Number", other); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "consent_form_expired") {
			t.Errorf("%q: %d %s", other, a.StatusCode, a.location())
		}
	}
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 0)
	equal(t, "the same person", w.consent(t, b, form, "X-Number", "2").StatusCode, http.StatusSeeOther)
}

// TestConsentIsNobodysElse: an origin that may use sessions may not read who the visitor is.
func TestConsentIsNobodysElse(t *testing.T) {
	const friend = "https://friend.example.com"
	w := start(t, plain, func(w *world) {
		w.Options = everyBank + "bank_picker\nallow_origins " + friend + consentOptions("")
	})
	b := w.browser()
	for _, a := range []*answer{
		b.do(http.MethodGet, w.Site+consentOfMock, "Origin", friend),
		w.consent(t, b, url.Values{"token": {"x"}, "name": person["name"]}, "Origin", w.Site),
	} {
		if a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%v", a.Header)
		}
	}
	equal(t, "other answers", b.do(http.MethodGet, w.Site+"/truelayer/session", "Origin", friend).Header.Get("Access-Control-Allow-Origin"), friend)
}
