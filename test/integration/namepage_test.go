package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestNameOfAnotherTime: the name that a visitor has given does not stand beside the bank's
// word on one that the site has.
func TestNameOfAnotherTime(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = "sign_in"
		w.Options = "verify_name {\napi " + w.AuthServer + "\n}"
		w.After = `request_header X-Verification "{http.truelayer.verification}:{http.truelayer.claimed_name}"`
	})
	b := w.signedIn()
	at := w.Site + "/truelayer/name?return=/page"
	page := b.navigate(at)
	if _, err := b.post(at, url.Values{"token": tokenField.FindStringSubmatch(page.body)[1:], "name": {"Evil Twin"}}); err != nil {
		t.Fatal(err)
	}
	_, told := w.named(b, "1")
	equal(t, "its own", told, "no_match:Evil Twin")
	w.Options = "verify_name {http.sign_in.name} {\napi " + w.AuthServer + "\n}"
	if err := w.load(plain); err != nil {
		t.Fatal(err)
	}
	_, told = w.named(b, "1")
	equal(t, "the site's", told, "match:")
}

// TestNamePage: a site that does not know its visitors asks them, and the application is
// told the name together with the bank's word on it.
func TestNamePage(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.secrets.add("John Doe", "Jane Carter")
		w.Options = "verify_name {\napi " + w.AuthServer + "\n}"
		w.After = `truelayer_require {
		verified_name
	}
	request_header X-Claimed "{http.truelayer.verification}: {http.truelayer.claimed_name}"`
	})
	b := w.signedIn()
	sent := b.navigate(w.Site + "/page?a=b")
	equal(t, "Location", sent.location(), "/truelayer/name?return=%2Fpage%3Fa%3Db")
	if a := b.fetch(w.Site + "/page"); a.StatusCode != http.StatusForbidden || a.problem(t)["reason"] != "name_missing" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	at := w.Site + sent.location()
	page := b.navigate(at)
	equal(t, "Cache-Control", page.Header.Get("Cache-Control"), "no-store")
	if !strings.Contains(page.body, `href="`+w.Site+`/truelayer/logout"`) {
		t.Error("who does not say a name cannot sign out")
	}
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Error(policy)
	}
	form := url.Values{"token": tokenField.FindStringSubmatch(page.body)[1:], "name": {"Jane  Carter"}}
	post := func(b *browser, form url.Values, header ...string) *answer {
		t.Helper()
		a, err := b.post(at, form, header...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for name, header := range map[string][]string{
		"another site": {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, "no origin": {"Origin", ""}, "a sibling": {"Sec-Fetch-Site", "same-site"},
	} {
		a := post(b, form, header...)
		equal(t, name, a.StatusCode, http.StatusForbidden)
		if !strings.Contains(a.body, w.Site+"/truelayer/name?return=") {
			t.Errorf("%s: the page does not lead back to the form: %s", name, a.body)
		}
	}
	if a := post(w.browser(), form); !strings.HasPrefix(a.location(), w.Site+"/truelayer/login") {
		t.Errorf("a stranger: %d %s", a.StatusCode, a.location())
	}
	if a := post(w.signedIn(), form); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, `value="Jane Carter"`) {
		t.Errorf("another visitor: %d %s", a.StatusCode, a.body)
	}
	for _, wrong := range []string{"", " ", strings.Repeat("a", 201), "a\x00"} {
		if a := post(b, url.Values{"token": form["token"], "name": {wrong}}); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Enter your full name") {
			t.Errorf("%q: %d", wrong, a.StatusCode)
		}
	}
	equal(t, "too large", post(b, url.Values{"token": form["token"], "name": {strings.Repeat("a", 40_000)}}).StatusCode, http.StatusUnprocessableEntity)
	equal(t, "questions", w.sim.Calls(simulator.Verify), 0)

	equal(t, "then", post(b, form).location(), "/page?a=b")
	if a := b.navigate(w.Site + "/page"); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "name_mismatch") || !strings.Contains(a.body, `href="/truelayer/name?return=%2Fpage"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if !strings.Contains(b.navigate(at).body, `value="Jane Carter"`) {
		t.Error("the page has forgotten the name")
	}
	form.Set("name", "John Doe")
	equal(t, "then", post(b, form).location(), "/page?a=b")
	equal(t, "the page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	_, seen := w.app.requests()
	equal(t, "the application is told", seen.Header.Get("X-Claimed"), "match: John Doe")
	equal(t, "PUT", b.do(http.MethodPut, at).StatusCode, http.StatusMethodNotAllowed)

	other := startVerifying(t, "", "")
	if a := other.signedIn().navigate(other.Site + "/truelayer/name"); a.StatusCode != http.StatusOK || a.body != "hello" {
		t.Errorf("with a placeholder the address is the application's: %d %s", a.StatusCode, a.body)
	}
}
