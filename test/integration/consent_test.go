package integration

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// ownConsent is a site's own consent.
const ownConsent = `
		consent {
			controller "Payroll & Sons"
			purpose    "We check that the account is yours."
			terms_url  https://app.example.com/terms
			%s
		}`

func consentOptions(more string) string { return fmt.Sprintf(ownConsent, more) }

func startConsent(t *testing.T, more string) *world {
	t.Helper()
	return start(t, audited, func(w *world) { w.Options = everyBank + "bank_picker" + consentOptions(more) })
}

// person is what a visitor enters. Nothing of it may be written down.
var person = url.Values{"name": {"Ada Byron-Lovelace"}, "email": {"ada.lovelace@example.org"}}

var (
	tokenField  = regexp.MustCompile(`name="token" value="([^"]+)"`)
	problemText = regexp.MustCompile(`<span class="problem" id="[^"]*">([^<]*)</span>`)
)

// consentForm opens the page for a bank and returns its form, filled in.
func (w *world) consentForm(t *testing.T, b *browser, target string) (page *answer, form url.Values) {
	t.Helper()
	w.secrets.add(person["name"][0], person["email"][0])
	page = b.navigate(w.Site + target)
	token := tokenField.FindStringSubmatch(page.body)
	if page.StatusCode != http.StatusOK || token == nil {
		t.Fatalf("%s: %d %s %s", target, page.StatusCode, page.location(), page.body)
	}
	w.secrets.add(token[1])
	form = maps.Clone(person)
	form.Set("token", html.UnescapeString(token[1]))
	return page, form
}

// post posts a form as a browser does.
func (b *browser) post(target string, form url.Values, header ...string) (*answer, error) {
	at, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for field := range slices.Chunk(append([]string{"Origin", at.Scheme + "://" + at.Host, "Sec-Fetch-Site", "same-origin"}, asNavigation...), 2) {
		req.Header.Set(field[0], field[1])
	}
	for field := range slices.Chunk(header, 2) {
		if req.Header.Del(field[0]); field[1] != "" {
			req.Header.Set(field[0], field[1])
		}
	}
	resp, err := b.client.Do(req)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) { // as browsers do: a reload closed the connection
		req.Body = io.NopCloser(strings.NewReader(form.Encode()))
		resp, err = b.client.Do(req)
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{resp, string(body)}, err
}

// consent agrees on the page, and returns the answer.
func (w *world) consent(t *testing.T, b *browser, form url.Values, header ...string) *answer {
	t.Helper()
	a, err := b.post(w.Site+consentOfMock, form, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const consentOfMock = "/truelayer/consent?provider=mock&return=%2Fpage%3Fa%3Db"

// TestConsent: a visitor chooses a bank on the site, consents there, goes straight to the
// bank, and comes back with a session. An auditor can tell which connection rests on which
// consent, and to which text.
func TestConsent(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	chosen := b.navigate(w.Site + "/truelayer/login?provider=mock&return=%2Fpage%3Fa%3Db")
	equal(t, "after the choice", chosen.location(), consentOfMock)
	page, form := w.consentForm(t, b, chosen.location())
	for _, want := range []string{
		`action="/truelayer/consent?provider=mock&amp;return=%2Fpage%3Fa%3Db"`, "Connect Mock", "Payroll &amp; Sons gets the data.", "We check that the account is yours.", "https://app.example.com/terms", "usually after 90 or 180 days", "How to withdraw",
		`name="name"`, `name="email"`, "/truelayer/banks?return=%2Fpage%3Fa%3Db", "/truelayer/consent?decline=1&amp;return=%2Fpage%3Fa%3Db", "/truelayer/banks?logo=mock",
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	for field, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"} {
		equal(t, field, page.Header.Get(field), want)
	}
	if policy := page.Header.Get("Content-Security-Policy"); strings.Contains(policy, "form-action") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Error(policy)
	}
	var sent *answer
	w.counts(t, "a link", []string{"bank_link_requests_total", "login_starts"}, map[string]float64{"bank_link_requests_total{result=ok}": 1, "login_starts_total": 1}, func() {
		sent = w.consent(t, b, form)
	})
	if sent.StatusCode != http.StatusSeeOther || !strings.HasPrefix(sent.location(), w.AuthServer+"/bank/mock/authorize?") {
		t.Fatalf("%d %s %s", sent.StatusCode, sent.location(), sent.body)
	}
	callback, err := w.sim.GrantDirect(sent.location())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "then", b.navigate(callback).location(), "/page?a=b")
	equal(t, "status", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "with a session", b.navigate(w.Site+consentOfMock).location(), "/page?a=b")

	told := w.sim.LastAuthURIRequest()
	if told.User != (simulator.User{Name: "Ada Byron-Lovelace", Email: "ada.lovelace@example.org"}) || told.ProviderID != "mock" || told.Scope != "verification" ||
		told.ChallengeMethod != "S256" || told.Challenge == "" || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(told.ConsentID) || told.AuthInputs != nil {
		t.Errorf("%+v", told)
	}
	trail := w.trail()
	if len(trail) != 2 || trail[0]["event"] != "consent_given" || trail[1]["event"] != "login" {
		t.Fatalf("%v", trail)
	}
	given := trail[0]
	if given["consent_id"] != told.ConsentID || trail[1]["consent_id"] != told.ConsentID || given["provider"] != "mock" || given["scopes"] != "verification" || given["text_language"] != "en" || given["client_ip"] == "" {
		t.Errorf("%v", trail)
	}
	text := logged(t, w, "visitors consent to this text")
	equal(t, "the text in the log", text["text"], any(told.DataUse))
	equal(t, "its digest", text["text_sha256"], given["text_sha256"])
	shown := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page.body, ""))
	for line := range strings.Lines(told.DataUse) {
		if !strings.Contains(shown, strings.TrimSpace(line)) {
			t.Errorf("the page does not show %q", line)
		}
	}
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 1)
}

// logged returns the first line of the log with a message.
func logged(t *testing.T, w *world, message string) map[string]any {
	t.Helper()
	for _, line := range lines(t, w.log.text(t), message) {
		return line
	}
	t.Fatalf("the log has no %q", message)
	return nil
}

// TestWhoConsents: whichever way leads to a bank leads to the page, and nothing else does.
func TestWhoConsents(t *testing.T) {
	const dialog = "dialog"
	for name, test := range map[string]struct{ options, target, want string }{
		"the picker":             {everyBank + "bank_picker", "/page", "/truelayer/banks?return=%2Fpage"},
		"a link":                 {everyBank, "/truelayer/login?provider=mock", "/truelayer/consent?provider=mock"},
		"provider_id":            {"provider_id mock\nproviders mock", "/page", "/truelayer/consent?provider=mock&return=%2Fpage"},
		"provider_id in a group": {"provider_id ob-shannon\nproviders ie-ob-all", "/page", "/truelayer/consent?provider=ob-shannon&return=%2Fpage"},
		"provider_id wins":       {"provider_id mock\nproviders mock", "/truelayer/login?provider=ob-harbour", "/truelayer/consent?provider=mock"},
		"TrueLayer's dialog":     {everyBank, "/truelayer/login?dialog=1", dialog},
		"without a choice":       {everyBank, "/page", dialog},
		"a bank with a PIN":      {"providers xs2a-falkenstein", "/truelayer/login?provider=xs2a-falkenstein", dialog},
		"a bank that is unknown": {everyBank, "/truelayer/login?provider=ob-nobody", dialog},
		"an unhealthy bank":      {everyBank, "/truelayer/login?provider=ob-tidewater", dialog},
		"a group":                {"providers de-xs2a-all", "/truelayer/login?provider=xs2a-lindenbank", dialog},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Options = test.options + consentOptions("") })
			location := w.browser().navigate(w.Site + test.target).location()
			if test.want == dialog {
				if !strings.HasPrefix(location, w.AuthServer+"/?") {
					t.Error(location)
				}
				return
			}
			equal(t, "Location", location, test.want)
		})
	}
}

// TestConsentAddressWithoutABank: the page's own address without a bank that it can lead to
// leads to TrueLayer's dialog, and is the application's without the option.
func TestConsentAddressWithoutABank(t *testing.T) {
	w := startConsent(t, "")
	for _, provider := range []string{"", "ob-nobody", "xs2a-falkenstein", "%22%3E%3Cscript%3E", strings.Repeat("a", 3000)} {
		equal(t, provider, w.browser().navigate(w.Site+"/truelayer/consent?provider="+provider).location(), "/truelayer/login?dialog=1")
	}
	w.sim.Fail(simulator.Providers, simulator.Fault{Status: http.StatusBadGateway})
	other := startPicker(t, "")
	a := other.browser().navigate(other.Site + consentOfMock)
	if !strings.HasPrefix(a.location(), other.AuthServer+"/?") { // protected, like everything else
		t.Errorf("%d %s", a.StatusCode, a.location())
	}
}

// TestConsentWithoutAList: without a list of banks nobody can consent here, and visitors
// go to TrueLayer's dialog.
func TestConsentWithoutAList(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "providers mock\nprovider_id mock" + consentOptions("") })
	w.sim.Fail(simulator.Providers, simulator.Fault{Status: http.StatusBadGateway})
	equal(t, "provider_id", w.picked(t, w.browser(), "/page").Get("provider_id"), "mock")
}

// TestConsentIsReconnected: after a consent has ended, a new one is given on the page.
func TestConsentIsReconnected(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "scopes verification offline_access\n" + everyBank + "bank_picker" + consentOptions("")
	})
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Second })
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	callback, err := w.sim.GrantDirect(w.consent(t, b, form).location())
	if err != nil {
		t.Fatal(err)
	}
	b.navigate(callback)
	w.sim.RevokeConsents()
	waitUntil(t, "the end", func() bool { return b.navigate(w.Site+"/page").StatusCode == http.StatusUnauthorized })
	equal(t, "again", b.navigate(w.Site+"/page").location(), "/truelayer/consent?provider=mock&return=%2Fpage")
}

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
	if !strings.Contains(page.body, "<strong>Grace Hopper</strong>") || strings.Contains(page.body, `name="name"`) || !strings.Contains(page.body, `name="email"`) {
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

// TestConsentIsDeclined: who does not consent is told that nothing was shared, and can
// change their mind.
func TestConsentIsDeclined(t *testing.T) {
	w := startConsent(t, "")
	a := w.browser().navigate(w.Site + "/truelayer/consent?decline=1&return=%2Fpage")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "your bank has shared nothing") || strings.Contains(a.body, "access_denied") || !strings.Contains(a.body, "/truelayer/login?return=%2Fpage") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 0)
	connected := w.browser()
	_, form := w.consentForm(t, connected, consentOfMock)
	callback, err := w.sim.GrantDirect(w.consent(t, connected, form).location())
	if err != nil {
		t.Fatal(err)
	}
	connected.navigate(callback)
	equal(t, "who is connected", connected.navigate(w.Site+"/truelayer/consent?decline=1&return=%2Fpage").location(), "/page")
}

// TestConsentAtTheBank: whatever happens at the bank is told as after TrueLayer's dialog.
func TestConsentAtTheBank(t *testing.T) {
	w := startConsent(t, "")
	for name, test := range map[string]struct {
		option simulator.ApproveOption
		reason string
	}{
		"cancelled":      {simulator.CancelAt("login"), "access_denied"},
		"the bank fails": {simulator.As("error.provider_error", "x"), "provider_error"},
	} {
		b := w.browser()
		_, form := w.consentForm(t, b, consentOfMock)
		callback, err := simulator.Approve(t.Context(), nil, w.consent(t, b, form).location(), test.option)
		if err != nil {
			t.Fatal(name, err)
		}
		if a := b.navigate(callback); !strings.Contains(a.body, test.reason) || !strings.Contains(a.body, "/truelayer/login?return=%2Fpage") {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
}

// TestConsentRefusals: each way in which TrueLayer gives no link is a page with one next
// step, and with fallback_dialog the way to its dialog, at the same bank.
func TestConsentRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		fault  simulator.Fault
		status int
		reason string
		result string
	}{
		"refused":         {simulator.Fault{Status: 400}, http.StatusBadGateway, "bank_link_refused", "invalid_request"},
		"not approved":    {simulator.Fault{Status: 401, ContentType: "application/json", Body: `{"error":"unauthorized_client"}`}, http.StatusBadGateway, "bank_link_refused", "unauthorized_client"},
		"too many":        {simulator.Fault{Status: 429, Header: http.Header{"Retry-After": {"1"}}}, http.StatusTooManyRequests, "too_many_consents", "rate_limited"},
		"an error":        {simulator.Fault{Status: 500}, http.StatusBadGateway, "bank_link_unavailable", "server_error"},
		"a page":          {simulator.Fault{Status: 403, ContentType: "text/html", Body: "<html>"}, http.StatusBadGateway, "bank_link_unavailable", "unusable_answer"},
		"no success":      {simulator.Fault{Status: 200, ContentType: "application/json", Body: `{"result":"https://bank.example/","success":false}`}, http.StatusBadGateway, "bank_link_unavailable", "unusable_answer"},
		"another address": {simulator.Fault{Status: 200, ContentType: "application/json", Body: `{"result":"javascript:alert(1)","success":true}`}, http.StatusBadGateway, "bank_link_unavailable", "unusable_answer"},
		"no answer":       {simulator.Fault{DropBefore: true}, http.StatusBadGateway, "bank_link_unavailable", "no_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fallback := range []string{"", "fallback_dialog"} {
				w := startConsent(t, fallback)
				b := w.browser()
				_, form := w.consentForm(t, b, consentOfMock)
				test.fault.Times = 1
				w.sim.Fail(simulator.AuthURI, test.fault)
				var a *answer
				w.counts(t, "the request", []string{"bank_link"}, map[string]float64{"bank_link_requests_total{result=" + test.result + "}": 1}, func() { a = w.consent(t, b, form) })
				if !strings.Contains(w.log.text(t), `"reason":"`+test.reason+`"`) {
					t.Error("the log does not say why")
				}
				if fallback != "" {
					link, err := url.Parse(a.location())
					if err != nil || !strings.HasPrefix(a.location(), w.AuthServer+"/?") || link.Query().Get("provider_id") != "mock" {
						t.Errorf("with fallback_dialog: %d %s", a.StatusCode, a.location())
					}
					continue
				}
				if a.StatusCode != test.status || !strings.Contains(a.body, test.reason) || !strings.Contains(a.body, `value="Ada Byron-Lovelace"`) {
					t.Errorf("%d %s", a.StatusCode, a.body)
				}
				form.Set("token", html.UnescapeString(tokenField.FindStringSubmatch(a.body)[1]))
				if test.status != http.StatusTooManyRequests {
					equal(t, "once more", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
				}
				if strings.Contains(w.log.text(t), "bank.example") {
					t.Error("the log has TrueLayer's answer")
				}
			}
		})
	}
}

// TestConsentTwice: a form that is sent again while TrueLayer is asked joins, also when its
// first browser window has gone. Both get the same link, and either can come back.
func TestConsentTwice(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	hold := make(chan struct{})
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Hold: hold})
	const n = 10
	answers := make(chan *answer, n)
	for range n {
		go func() {
			a, err := b.post(w.Site+consentOfMock, form)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	awaitWaiting(t, n)
	close(hold)
	locations := make(map[string]bool)
	for range n {
		a := <-answers
		locations[a.location()] = true
	}
	if len(locations) != 1 || w.sim.Calls(simulator.AuthURI) != 1 {
		t.Errorf("%v, %d links", locations, w.sim.Calls(simulator.AuthURI))
	}
	equal(t, "consents", strings.Count(fmt.Sprint(w.events()), "consent_given"), 1)
	for location := range locations {
		callback, err := w.sim.GrantDirect(location)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "then", b.navigate(callback).location(), "/page?a=b")
	}
	// after that the same form begins another login, with a consent of its own
	b.do(http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
	equal(t, "again", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
	if trail := w.trail(); trail[0]["consent_id"] == trail[len(trail)-1]["consent_id"] {
		t.Errorf("two consents have one id: %v", trail)
	}
}

// TestConsentFlood: a network asks TrueLayer for at most thirty links in a minute, and four
// at once; others go on; and nothing is left behind.
func TestConsentFlood(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Global = "servers {\ntrusted_proxies static private_ranges\n}"
		w.Options = everyBank + "bank_picker" + consentOptions("")
	})
	const n = 100
	from := func(network string) []string { return []string{"X-Forwarded-For", network} }
	before := w.series()["memory_records"]
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for range n {
		wg.Go(func() {
			b := w.browser()
			_, form := w.consentForm(t, b, consentOfMock)
			a := w.consent(t, b, form, from("2001:db8::1")...)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.StatusCode]++
			if a.StatusCode == http.StatusTooManyRequests && (a.Header.Get("Retry-After") == "" || a.Header.Get("Refresh") != "") {
				t.Errorf("%v", a.Header)
			}
		})
	}
	wg.Wait()
	if statuses[http.StatusSeeOther] != 30 || statuses[http.StatusTooManyRequests] != n-30 || w.sim.Calls(simulator.AuthURI) != 30 {
		t.Errorf("%v, %d links", statuses, w.sim.Calls(simulator.AuthURI))
	}
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	equal(t, "another network", w.consent(t, b, form, from("2001:db8:1::1")...).StatusCode, http.StatusSeeOther)
	equal(t, "records", w.series()["memory_records"], before)
}

// TestConsentPause: what TrueLayer asks for is kept, for the network that it was asked for.
func TestConsentPause(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Global = "servers {\ntrusted_proxies static private_ranges\n}"
		w.Options = everyBank + "bank_picker" + consentOptions("")
	})
	ask := func(network string) *answer {
		b := w.browser()
		_, form := w.consentForm(t, b, consentOfMock)
		return w.consent(t, b, form, "X-Forwarded-For", network)
	}
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	for range 3 {
		a := ask("2001:db8::1")
		equal(t, "status", a.StatusCode, http.StatusTooManyRequests)
		if retry := a.Header.Get("Retry-After"); retry != "60" && retry != "59" {
			t.Errorf("Retry-After %q", retry)
		}
	}
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 1)
	equal(t, "another network", ask("2001:db8:1::1").StatusCode, http.StatusSeeOther)
}

// TestConsentOfThoseWhoGo: who closes the window leaves a request that ends by itself.
func TestConsentOfThoseWhoGo(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	hold := make(chan struct{})
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Hold: hold})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		leaving := *b
		leaving.client = &http.Client{Jar: b.client.Jar, Transport: closing{ctx}}
		_, err := leaving.post(w.Site+consentOfMock, form)
		gone <- err
	}()
	waitUntil(t, "the request", func() bool { return w.sim.Calls(simulator.AuthURI) == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(hold)
	waitUntil(t, "its end", func() bool { return w.series()["bank_link_requests_total{result=ok}"] == 1 })
	equal(t, "failures", strings.Count(w.log.text(t), `"reason":"bank_link`), 0)
}

// closing is a network of a window that is closed when ctx ends.
type closing struct{ ctx context.Context }

func (c closing) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r.WithContext(c.ctx))
}

// TestConsentCookieIsStripped: the application sees none of the module's cookies.
func TestConsentCookieIsStripped(t *testing.T) {
	for _, name := range []string{"", "cookie_name bank"} {
		w := start(t, plain, func(w *world) { w.Options = everyBank + "bank_picker\n" + name + consentOptions("") })
		b := w.browser()
		_, form := w.consentForm(t, b, consentOfMock)
		if cookies := b.cookies(w.Site); !strings.Contains(cookies, "-form=") {
			t.Fatal(cookies)
		}
		callback, err := w.sim.GrantDirect(w.consent(t, b, form).location())
		if err != nil {
			t.Fatal(err)
		}
		b.navigate(callback)
		equal(t, "status", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
		if _, seen := w.app.requests(); seen.Header.Get("Cookie") != "" {
			t.Errorf("the application got %s", seen.Header.Get("Cookie"))
		}
	}
}

// TestConsentWithOwnErrorPages: with disable_error_pages a failure goes to the site's own
// routes, without what was sent.
func TestConsentWithOwnErrorPages(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = everyBank + "bank_picker\ndisable_error_pages" + consentOptions("")
		w.After = "handle_errors {\nrespond \"own page: {http.truelayer.error}\"\n}"
	})
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Status: http.StatusInternalServerError})
	a := w.consent(t, b, form)
	equal(t, "status", a.StatusCode, http.StatusBadGateway)
	equal(t, "body", a.body, "own page: bank_link_unavailable")
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

// TestCorrectedConsent: a form that was corrected while the first one is under way is another
// one, and repetitions of one form take one slot of the browser's logins.
func TestCorrectedConsent(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	hold := make(chan struct{})
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Hold: hold})
	first := make(chan *answer, 2)
	for range cap(first) {
		go func() {
			a, err := b.post(w.Site+consentOfMock, form)
			if err != nil {
				t.Error(err)
			}
			first <- a
		}()
	}
	awaitWaiting(t, 2)
	corrected := maps.Clone(form)
	corrected.Set("name", "Ada Byron")
	w.secrets.add("Ada Byron")
	equal(t, "status", w.consent(t, w.browserLike(b), corrected).StatusCode, http.StatusSeeOther)
	equal(t, "name", w.sim.LastAuthURIRequest().User.Name, "Ada Byron")
	close(hold)
	one, two := <-first, <-first
	var cookies []string
	for _, a := range []*answer{one, two} {
		for _, c := range a.Cookies() {
			if strings.Contains(c.Name, "-login-") && c.MaxAge > 0 {
				cookies = append(cookies, c.Name)
			}
		}
	}
	if slices.Sort(cookies); len(slices.Compact(cookies)) != 1 {
		t.Errorf("one login takes the slots %q", cookies)
	}
}

// browserLike is a browser with the cookies of another by now.
func (w *world) browserLike(b *browser) *browser {
	w.t.Helper()
	other := w.browser()
	site, err := url.Parse(w.Site)
	if err != nil {
		w.t.Fatal(err)
	}
	other.client.Jar.SetCookies(site, b.client.Jar.Cookies(site))
	return other
}
