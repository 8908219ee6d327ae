package integration

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// verifying is plain with tokens that are checked.
var verifying = strings.Replace(plain, "{{.Options}}", "{{.Options}}\n\t\tverify_access_token {{.AuthServer}}"+keySetPath, 1)

// tokenFor is an access token that another auth server with the same key gives
// to a client.
func (w *world) tokenFor(t *testing.T, client string, config simulator.Config) string {
	t.Helper()
	redirectURI := w.Site + "/truelayer"
	config.Clients = []simulator.Client{{ID: client, Secret: clientSecret, RedirectURIs: []string{redirectURI}}}
	sim, err := simulator.New(config)
	if err != nil {
		t.Fatal(err)
	}
	callback, err := sim.Grant("https://auth.example/?" + url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "scope": {"info"}, "state": {"s"},
		"providers": {"uk-cs-mock"},
	}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tokenPath, strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "client_secret": {clientSecret},
		"redirect_uri": {redirectURI}, "code": {query(t, callback).Get("code")},
	}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	recorder := httptest.NewRecorder()
	sim.ServeHTTP(recorder, r)
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.Token == "" {
		t.Fatalf("%d %s: %v", recorder.Code, recorder.Body, err)
	}
	w.secrets.add(sim.Secrets()...)
	return answer.Token
}

// TestSessionsFromBeforeVerification: turning verify_access_token on does not let
// through those whose tokens nobody has checked, nor does a block beside it that
// checks nothing.
func TestSessionsFromBeforeVerification(t *testing.T) {
	for name, options := range map[string]string{"its own cookie name": "", "a name of the operator's": "cookie_name bank"} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Options = options })
			b := w.signedIn()
			equal(t, "before", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
			if err := w.load(verifying); err != nil {
				t.Fatal(err)
			}
			equal(t, "after", b.fetch(w.Site+"/page").StatusCode, http.StatusUnauthorized)
			equal(t, "a new login", w.login(b, w.Site+"/page").location(), "/page")
			equal(t, "a checked token", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
			if err := w.load(strings.Replace(verifying, "{{.Options}}", "{{.Options}}\n\t\tissuer https://auth.example", 1)); err != nil {
				t.Fatal(err)
			}
			equal(t, "after another issuer was set", b.fetch(w.Site+"/page").StatusCode, http.StatusUnauthorized)
		})
	}
}

// TestTokenForSomebodyElse: a token with a good signature is refused if it is
// from another issuer, for another client, or not for now.
func TestTokenForSomebodyElse(t *testing.T) {
	w, impostor := startWithImpostor(t, verifying, nil)
	calls := func() int { return impostor.calls(tokenPath) }
	at := func(d time.Duration) func() time.Time {
		return func() time.Time { return time.Now().Add(d) }
	}
	for name, test := range map[string]struct {
		client, issuer string
		ahead          time.Duration
		why            string
	}{
		"another issuer":     {w.ClientID, "https://auth.truelayer.com", 0, "its issuer is"},
		"our issuer, longer": {w.ClientID, w.AuthServer + "/", 0, "its issuer is"},
		"another client":     {"sandbox-another", w.AuthServer, 0, "it was given to another client_id"},
		"expired":            {w.ClientID, w.AuthServer, -2 * time.Hour, "it has expired"},
		"not yet issued":     {w.ClientID, w.AuthServer, time.Hour, "it is not yet valid"},
	} {
		t.Run(name, func(t *testing.T) {
			since := w.log.mark(t)
			access := w.tokenFor(t, test.client, simulator.Config{Issuer: test.issuer, Now: at(test.ahead)})
			impostor.answers(tokenPath, says(`{"access_token":"`+access+`","token_type":"Bearer","expires_in":3600}`))
			w.loginFails(t, calls, http.StatusBadGateway, "token_refused")
			if !strings.Contains(since(), test.why) {
				t.Errorf("the log does not say that %s", test.why)
			}
		})
	}
	// nothing else is wrong with these tokens
	access := w.tokenFor(t, w.ClientID, simulator.Config{Issuer: w.AuthServer})
	impostor.answers(tokenPath, says(`{"access_token":"`+access+`","token_type":"Bearer","expires_in":3600}`))
	b := w.signedIn()
	equal(t, "page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	_, got := w.app.requests()
	equal(t, "Authorization", got.Header.Get("Authorization"), "Bearer "+access)
	equal(t, "key sets fetched", impostor.calls(keySetPath), 1)
}

// TestKeyRotation: tokens signed with a new key are good as soon as the key
// set may be fetched: at first, and for a new configuration. In between it is
// left alone for a minute, whatever tokens name.
func TestKeyRotation(t *testing.T) {
	w := start(t, verifying, nil)
	w.sim.RotateKeys()
	b := w.signedIn()
	w.sim.RotateKeys()
	first := w.browser()
	// go-oidc gives a fetch's result once more if asked at once
	waitUntil(t, "the fetch to be over", func() bool {
		return first.fetch(w.approve(first, w.Site+"/page")).StatusCode == http.StatusServiceUnavailable
	})
	for range 2 {
		stranger := w.browser()
		a := w.failsCalmly(t, stranger.navigate, w.approve(stranger, w.Site+"/page"), http.StatusServiceUnavailable, "token_unverified")
		equal(t, "Retry-After", a.Header.Get("Retry-After"), "60")
	}
	equal(t, "key sets fetched", w.sim.Calls(simulator.JWKS), 1)
	if err := w.load(verifying); err != nil {
		t.Fatal(err)
	}
	w.signedIn()
	equal(t, "key sets fetched with the new configuration", w.sim.Calls(simulator.JWKS), 2)
	equal(t, "an earlier session", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
}
