package truelayer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

func testConsent() *Consent {
	return &Consent{Controller: "C", Purpose: "P", TermsURL: "https://a.example/"}
}

// testForms are the forms of a block, with a clock.
func testForms(secret, label string) *pageForms {
	names := newCookieNames("bank", session.NewLabel(label), false)
	return &pageForms{&names, newSealer(authserver.NewSecret(secret), "consent form v1", session.NewLabel(label))}
}

// asks is a request at a time, with cookies.
func asks(now time.Time, cookies ...string) *request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if len(cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	return &request{Request: r, cookies: r.Header["Cookie"], now: now}
}

// TestConsentForms: a form is good in the browser that it was shown to, for its time, and in
// no other block.
func TestConsentForms(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	forms := testForms("secret", "a")
	w := httptest.NewRecorder()
	token := forms.issue(w, asks(now), "ob-monzo", "digest")
	set := w.Result().Cookies()[0]
	if set.Name != "bank-form" || !set.HttpOnly || set.MaxAge != 3600 {
		t.Errorf("%v", set)
	}
	cookie := set.Name + "=" + set.Value
	f, ok := forms.open(asks(now.Add(pageFormLifetime), cookie), token)
	if !ok || f.subject != "ob-monzo" || f.digest != "digest" || f.id == "" || !f.shown.Equal(now) {
		t.Errorf("%+v, %v", f, ok)
	}
	planted := set.Name + "=" + randomText()
	if _, ok := forms.open(asks(now, planted, cookie, planted), token); !ok {
		t.Error("a planted cookie locks the visitor out")
	}
	for name, q := range map[string]*request{
		"without the cookie":   asks(now),
		"another cookie":       asks(now, planted),
		"the cookie elsewhere": asks(now, "bank="+set.Value),
		"too late":             asks(now.Add(pageFormLifetime+time.Millisecond), cookie),
		"long before":          asks(now.Add(-24*time.Hour), cookie),
	} {
		if _, ok := forms.open(q, token); ok {
			t.Error(name)
		}
	}
	for _, other := range []*pageForms{testForms("another", "a"), testForms("secret", "b")} {
		if _, ok := other.open(asks(now, cookie), token); ok {
			t.Error("another block takes the form")
		}
	}
	if _, ok := (&pageForms{forms.names, newLoginSealer(authserver.NewSecret("secret"), session.NewLabel("a")).sealer}).open(asks(now, cookie), token); ok {
		t.Error("the seal of logins opens a form")
	}
	for i := range token {
		if _, ok := forms.open(asks(now, cookie), token[:i]+"_"+token[i+1:]); ok && token[i] != '_' {
			t.Fatalf("opened with character %d changed", i)
		}
	}
	w = httptest.NewRecorder()
	second := forms.issue(w, asks(now, cookie), "ob-monzo", "digest")
	if kept := w.Result().Cookies()[0].Value; kept != set.Value || second == token {
		t.Error("a second tab ends the first")
	}
}

// TestScopesHaveWords: the page has words for each scope that is known.
func TestScopesHaveWords(t *testing.T) {
	for _, scope := range knownScopes {
		if scope == "offline_access" {
			continue // a sentence on how long the access lasts
		}
		if pages.English().Say("scope_"+scope) == "" {
			t.Errorf("%s has no words", scope)
		}
	}
}

// TestUserNames: what TrueLayer is told is a name and an address, and nothing that changes
// the text around it.
func TestUserNames(t *testing.T) {
	for name, want := range map[string]bool{
		"Ada": true, "Zoë O'Neil-van der Berg": true, "李小龍": true, strings.Repeat("é", tlapi.MaxName): true,
		"": false, strings.Repeat("é", tlapi.MaxName+1): false, "a\x00": false, "a\nb": false, "\u202ea": false, "\xff": false,
	} {
		if vouch.IsName(name) != want {
			t.Errorf("%q", name)
		}
	}
	for address, want := range map[string]bool{
		"ada@example.com": true, "a.b+c@sub.example.co.uk": true,
		"": false, "ada": false, "Ada <ada@example.com>": false, "<ada@example.com>": false, "ada@example.com, b@example.com": false, "a@b\r\nBcc: c@d": false,
		" ada@example.com": false, strings.Repeat("a", 245) + "@example.com": false,
	} {
		if isUserEmail(address) != want {
			t.Errorf("%q", address)
		}
	}
}
