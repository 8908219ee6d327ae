package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// toBank presses the button that renews and returns the link to the bank.
func (w *world) toBank(t *testing.T, b *browser, header ...string) string {
	t.Helper()
	sent := w.press(t, b, renewPath, header...)
	if sent.StatusCode != http.StatusSeeOther || !strings.HasPrefix(sent.location(), w.AuthServer+"/bank/mock/authorize?") {
		t.Fatalf("%d %s %s", sent.StatusCode, sent.location(), sent.body)
	}
	return sent.location()
}

// renewed follows a link to the bank and returns the callback.
func (w *world) renewed(t *testing.T, link string) string {
	t.Helper()
	callback, err := w.sim.GrantDirect(link)
	if err != nil {
		t.Fatal(err)
	}
	return callback
}

func (w *world) lastLine() map[string]any {
	trail := w.trail()
	return trail[len(trail)-1]
}

// line returns the last line of the audit trail with an event.
func (w *world) line(t *testing.T, event string) map[string]any {
	t.Helper()
	trail := w.trail()
	for _, line := range slices.Backward(trail) {
		if line["event"] == event {
			return line
		}
	}
	t.Fatalf("no line %s in %v", event, trail)
	return nil
}

// TestRenew: a visitor renews the consent before it ends. The old session works until the
// new one is there, which then replaces it, and an auditor can tell.
func TestRenew(t *testing.T) {
	w := startRenewing(t, "")
	b := w.signedIn()
	first := w.line(t, "login")
	var link string
	w.counts(t, "a link", []string{"renewal_link_requests_total", "login_starts", "bank_link"}, map[string]float64{"renewal_link_requests_total{result=ok}": 1, "login_starts_total": 1}, func() {
		link = w.toBank(t, b, "Referer", w.Site+"/account?tab=bank")
	})
	equal(t, "meanwhile", b.navigate(w.Site+"/page").body, "hello")
	old := b.cookies(w.Site)
	back := b.navigate(w.renewed(t, link))
	equal(t, "back", back.location(), "/account?tab=bank")
	equal(t, "afterwards", b.navigate(w.Site+"/page").body, "hello")
	equal(t, "the old cookie", w.browser().do("GET", w.Site+"/page", "Cookie", old).StatusCode, http.StatusUnauthorized)
	login, replaced := w.line(t, "login"), w.line(t, "session_replaced")
	if login["renews"] != first["session"] || login["renews_connection"] != "same" || replaced["session"] != first["session"] || login["connection"] != first["connection"] {
		t.Errorf("%v\n%v", login, replaced)
	}
	if _, has := first["renews"]; has {
		t.Errorf("%v", first)
	}
	equal(t, "disconnects", w.sim.Calls(simulator.Delete), 0)
}

// TestWhoMayRenew: only the site itself begins a renewal, and looking at the address does
// nothing.
func TestWhoMayRenew(t *testing.T) {
	w := startRenewing(t, "")
	b := w.signedIn()
	for _, path := range []string{renewPath, disconnectPath} {
		for name, header := range map[string][]string{
			"another site":          {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
			"a sibling":             {"Origin", "", "Sec-Fetch-Site", "same-site"},
			"another site, old":     {"Origin", "https://evil.example", "Sec-Fetch-Site", ""},
			"a frame, old":          {"Origin", "null", "Sec-Fetch-Site", ""},
			"another port's origin": {"Origin", "http://localhost:1", "Sec-Fetch-Site", ""},
		} {
			a := w.press(t, b, path, header...)
			equal(t, path+", "+name, a.StatusCode, http.StatusForbidden)
			if !strings.Contains(a.body, "cross_site") {
				t.Error(a.body)
			}
		}
		equal(t, "GET "+path, b.navigate(w.Site+path).location(), connectionPath)
		equal(t, "PUT "+path, b.do(http.MethodPut, w.Site+path).StatusCode, http.StatusMethodNotAllowed)
		equal(t, "still signed in", b.navigate(w.Site+"/page").body, "hello")
	}
	equal(t, "links", w.sim.Calls(simulator.ReauthURI), 0)
	equal(t, "disconnects", w.sim.Calls(simulator.Delete), 0)
	equal(t, "without a session", w.press(t, w.browser(), renewPath).location(), connectionPath)
	equal(t, "back to another site", query(t, w.toBank(t, b, "Referer", "https://evil.example/")).Get("state") != "", true)
}

// TestRenewInVain: whatever fails on the way says that the old connection goes on, and leads
// back to where the visitor was.
func TestRenewInVain(t *testing.T) {
	w := startRenewing(t, "")
	at := func(options ...simulator.ApproveOption) func(*testing.T, string) string {
		return func(t *testing.T, link string) string {
			t.Helper()
			callback, err := simulator.Approve(t.Context(), nil, link, options...)
			if err != nil {
				t.Fatal(err)
			}
			return callback
		}
	}
	for name, test := range map[string]struct {
		callback func(*testing.T, string) string
		fault    *simulator.Fault
		reason   string
	}{
		"cancelled":      {at(simulator.CancelAt("login")), nil, "access_denied"},
		"the bank fails": {at(simulator.As("error.provider_error", "x")), nil, "provider_error"},
		"nothing comes":  {func(*testing.T, string) string { return w.Site + "/truelayer?state=" }, nil, "access_denied"},
		"nothing but the state": {func(t *testing.T, link string) string {
			t.Helper()
			return w.Site + "/truelayer?state=" + query(t, w.renewed(t, link)).Get("state")
		}, nil, "access_denied"},
		"a code refused": {w.renewed, &simulator.Fault{Times: 1, Status: 400, Body: `{"error":"invalid_grant"}`}, "code_refused"},
		"no answer":      {w.renewed, &simulator.Fault{Times: 1, Status: 502}, "auth_server_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.signedIn()
			callback := test.callback(t, w.toBank(t, b, "Referer", w.Site+"/account"))
			if test.fault != nil {
				w.sim.Fail(simulator.Token, *test.fault)
			}
			a := b.navigate(callback)
			if !strings.Contains(a.body, test.reason) || strings.Count(a.body, "Your earlier connection goes on as before, until ") != 1 || !strings.Contains(a.body, `href="/account"`) {
				t.Errorf("%d %s %s", a.StatusCode, a.location(), a.body)
			}
			if strings.Contains(a.body, pages.English().Date(time.Now().Add(3*24*time.Hour))) {
				t.Error("the session goes on for a day at most, and the page says three")
			}
			equal(t, "the old session", b.navigate(w.Site+"/page").body, "hello")
		})
	}
	b := w.signedIn()
	callback := at(simulator.CancelAt("login"))(t, w.toBank(t, b))
	if a := b.navigate(callback); !strings.Contains(a.body, `href="/truelayer/connection"`) {
		t.Errorf("without a page to go back to: %s", a.body)
	}
	gone := w.signedIn()
	callback = at(simulator.CancelAt("login"))(t, w.toBank(t, gone))
	w.press(t, gone, "/truelayer/logout")
	if a := gone.navigate(callback); strings.Contains(a.body, "goes on as before") || !strings.Contains(a.body, "access_denied") {
		t.Errorf("after a logout: %s", a.body)
	}
}

// TestRenewRefused: where TrueLayer gives no link, the visitor connects again, at the same
// bank, and comes back to a session that replaces the old one.
func TestRenewRefused(t *testing.T) {
	for name, test := range map[string]struct {
		fault   *simulator.Fault
		options string
		result  string
	}{
		"refused":            {&simulator.Fault{Times: 1, Status: 401, Body: `{"error":"invalid_request"}`}, "", "invalid_request"},
		"another's token":    {&simulator.Fault{Times: 1, Status: 403}, "", "other_error"},
		"not there any more": {&simulator.Fault{Times: 1, Status: 404, ContentType: "text/html", Body: "<html>"}, "", "unusable_answer"},
		"too many":           {&simulator.Fault{Times: 1, Status: 429}, "", "rate_limited"},
		"an error":           {&simulator.Fault{Times: 1, Status: 500}, "", "server_error"},
		"no answer":          {&simulator.Fault{Times: 1, DropAfter: true}, "", "no_answer"},
		"no success":         {&simulator.Fault{Times: 1, Body: `{"result":"https://bank.example/","success":false}`}, "", "unusable_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := startRenewing(t, test.options)
			b := w.signedIn()
			first := w.line(t, "login")
			w.sim.Fail(simulator.ReauthURI, *test.fault)
			var sent *answer
			w.counts(t, name, []string{"renewal_link_requests_total"}, map[string]float64{"renewal_link_requests_total{result=" + test.result + "}": 1}, func() {
				sent = w.press(t, b, renewPath, "Referer", w.Site+"/account")
			})
			equal(t, "the link", strings.HasPrefix(sent.location(), w.AuthServer+"/?"), true)
			equal(t, "the bank", query(t, sent.location()).Get("provider_id"), "mock")
			equal(t, "the scopes", query(t, sent.location()).Get("scope"), "verification offline_access")
			equal(t, "meanwhile", b.navigate(w.Site+"/page").body, "hello")
			callback, err := w.sim.Grant(sent.location())
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "back", b.navigate(callback).location(), "/account")
			if login := w.line(t, "login"); login["renews"] != first["session"] || login["renews_connection"] != "another" {
				t.Errorf("%v", login)
			}
			equal(t, "replaced", w.line(t, "session_replaced")["session"], first["session"])
		})
	}
	w := start(t, plain, nil) // without a refresh token
	w.sim.Set(func(s *simulator.Settings) { s.RefreshTokens = "never" })
	b := w.signedIn()
	equal(t, "without a refresh token", query(t, w.press(t, b, renewPath).location()).Get("provider_id"), "mock")
	equal(t, "links", w.sim.Calls(simulator.ReauthURI), 0)
}

// TestRenewTooOften: beyond the bounds TrueLayer is not asked for a link, which the log does
// not claim, and the visitor connects again.
func TestRenewTooOften(t *testing.T) {
	w := startRenewing(t, "")
	b := w.signedIn()
	const presses = 40
	for range presses {
		if sent := w.press(t, b, renewPath); sent.StatusCode != http.StatusSeeOther || !strings.HasPrefix(sent.location(), w.AuthServer+"/") {
			t.Fatalf("%d %s", sent.StatusCode, sent.location())
		}
	}
	if calls := w.sim.Calls(simulator.ReauthURI); calls >= presses {
		t.Errorf("%d calls", calls)
	}
	if log := w.log.text(t); strings.Contains(log, "TrueLayer gave") || !strings.Contains(log, "no link that renews a connection could be had") {
		t.Error("the log does not say why")
	}
}

// TestRenewWithConsent: with a consent page of the site's own, a refused renewal leads to it,
// though the visitor is connected, and what is consented to there renews the session.
func TestRenewWithConsent(t *testing.T) {
	w := start(t, audited, func(w *world) {
		w.Options = "scopes verification offline_access\n" + everyBank + "bank_picker" + consentOptions("")
	})
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	b.navigate(w.renewed(t, w.consent(t, b, form).location()))
	first := w.line(t, "login")
	w.sim.Fail(simulator.ReauthURI, simulator.Fault{Times: 1, Status: http.StatusUnauthorized})
	page := w.press(t, b, renewPath, "Referer", w.Site+"/account").location()
	if asked := query(t, page); asked.Get("provider") != "mock" || asked.Get("return") != "/account" || asked.Get("renew") == "" {
		t.Fatal(page)
	}
	renew := query(t, page).Get("renew")
	for _, link := range []string{ // of other sites
		"/truelayer/consent?provider=mock&renew=1", "/truelayer/consent?provider=ob-kestrel&renew=" + renew,
	} {
		equal(t, link, b.navigate(w.Site+link+"&return=%2Faccount").location(), "/account")
	}
	if shown := b.navigate(w.Site + page); strings.Contains(shown.body, "Choose another bank") {
		t.Error("a connection can be renewed at another bank")
	}
	_, form = w.consentForm(t, b, page)
	sent, err := b.post(w.Site+page, form)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "meanwhile", b.navigate(w.Site+"/page").body, "hello")
	equal(t, "back", b.navigate(w.renewed(t, sent.location())).location(), "/account")
	if login := w.line(t, "login"); login["renews"] != first["session"] || login["consent_id"] == "" {
		t.Errorf("%v", login)
	}
	equal(t, "replaced", w.line(t, "session_replaced")["session"], first["session"])
}

// TestRenewAsSomebodyElse: who renews with another connection has that one, and an auditor
// can tell. Its token is that of the new connection, and the old one ends only if asked for.
func TestRenewAsSomebodyElse(t *testing.T) {
	for _, test := range []struct {
		options string
		other   bool
		calls   int
	}{{"", true, 0}, {"disconnect_on replace", true, 1}, {"disconnect_on replace", false, 0}} {
		w := startRenewing(t, test.options)
		b := w.signedIn()
		first := w.line(t, "login")
		w.sim.Set(func(s *simulator.Settings) { s.ReauthOther = test.other })
		b.navigate(w.renewed(t, w.toBank(t, b)))
		login := w.line(t, "login")
		relation := map[bool]string{true: "another", false: "same"}[test.other]
		if login["renews_connection"] != relation || (login["connection"] == first["connection"]) == test.other {
			t.Errorf("%+v: %v after %v", test, login, first)
		}
		if test.calls > 0 {
			waitUntil(t, "the end of the old connection", func() bool { return w.sim.Calls(simulator.Delete) > 0 })
			waitUntil(t, "its line", func() bool { return w.lastLine()["event"] == "disconnected" })
			equal(t, "disconnected", w.lastLine()["session"], first["session"])
		}
		equal(t, "signed in", b.navigate(w.Site+"/page").body, "hello")
		equal(t, "disconnects", w.sim.Calls(simulator.Delete), test.calls)
	}
}

// TestRenewAfterALogout: a renewal that comes back after its visitor has signed out is a
// login like any other, of which nobody knows whose connection it renews.
func TestRenewAfterALogout(t *testing.T) {
	w := startRenewing(t, "")
	b := w.signedIn()
	callback := w.renewed(t, w.toBank(t, b))
	w.press(t, b, "/truelayer/logout")
	equal(t, "back", b.navigate(callback).location(), connectionPath)
	equal(t, "signed in", b.navigate(w.Site+"/page").body, "hello")
	if login := w.line(t, "login"); login["renews_connection"] != "unknown" {
		t.Errorf("%v", login)
	}
}
