package integration

import (
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
	"syscall"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
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
	const inLog = "visitors consent to this text"
	equal(t, "languages of the text in the log", len(lines(t, w.log.text(t), inLog)), len(pages.Languages()))
	text := logged(t, w, inLog)
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
