package integration

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestHostileKeySet: with verify_access_token nobody gets a session by a token
// whose signature could not be checked, or is not the auth server's. The key
// set is not followed elsewhere, and nothing that a token names is fetched.
func TestHostileKeySet(t *testing.T) {
	startVerifying := func(t *testing.T) (w *world, i *impostor, set string) {
		t.Helper()
		w, i = startImpostor(t, func(w *world) {
			w.Options = "scopes verification offline_access\n\t\tverify_access_token " + w.AuthServer + keySetPath
		})
		return w, i, w.keySet(t)
	}
	says := func(make func(set string) string) func(*world, string) http.HandlerFunc {
		return func(_ *world, set string) http.HandlerFunc { return says(make(set)) }
	}
	does := func(answer http.HandlerFunc) func(*world, string) http.HandlerFunc {
		return func(*world, string) http.HandlerFunc { return answer }
	}
	for name, answer := range map[string]func(*world, string) http.HandlerFunc{
		"302 elsewhere":     func(w *world, _ string) http.HandlerFunc { return elsewhere(http.StatusFound, w.App) },
		"308 elsewhere":     func(w *world, _ string) http.HandlerFunc { return elsewhere(http.StatusPermanentRedirect, w.App) },
		"a gzip bomb":       func(_ *world, set string) http.HandlerFunc { return compressed(t, set) },
		"endless":           does(endless("HTTP/1.1 200 OK\r\n\r\n{\"keys\":[", strings.Repeat(" ", 4<<10))),
		"an endless header": does(endless("HTTP/1.1 200 OK\r\n", "X-Y: z\r\n")),
		"a reset":           does(raw(func(conn net.Conn, _ *http.Request) { _ = conn.(*net.TCPConn).SetLinger(0) })),
		"an error": does(func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "canary", http.StatusInternalServerError)
		}),
		"UTF-16":            says(inUTF16),
		"a byte order mark": says(func(set string) string { return "\ufeff" + set }),
		"a list":            says(func(set string) string { return "[" + set + "]" }),
		"two sets":          says(func(set string) string { return set + set }),
		"keys of no kind":   says(func(string) string { return `{"keys":"canary"}` }),
		"nested":            says(func(string) string { return strings.Repeat("[", 1_000_000) }),
		"a key in pieces": says(func(set string) string {
			return strings.Replace(set, `"keys":[`, `"keys":[{"kty":"RSA","kid":"`+strings.Repeat("canary", 10_000)+`"},`, 1)
		}),
	} {
		t.Run("unreadable/"+name, func(t *testing.T) {
			w, impostor, set := startVerifying(t)
			impostor.answers(keySetPath, answer(w, set))
			w.loginFails(t, func() int { return impostor.calls(tokenPath) }, http.StatusServiceUnavailable, "token_unverified")
			if n, _ := w.app.requests(); n > 0 {
				t.Errorf("a redirect was followed %d times", n)
			}
			impostor.answers(keySetPath, nil)
			w.signedIn()
		})
	}
	for name, answer := range map[string]func(*world, string) http.HandlerFunc{
		"null":            says(func(string) string { return `null` }),
		"no keys":         says(func(string) string { return `{"keys":[]}` }),
		"null keys":       says(func(string) string { return `{"keys":null}` }),
		"another key":     says(func(set string) string { return strings.Replace(set, `"kid":"`, `"kid":"canary`, 1) }),
		"a shared secret": says(func(string) string { return `{"keys":[{"kty":"oct","kid":"canary","alg":"HS256","k":"Y2FuYXJ5"}]}` }),
		"an unknown kind": says(func(string) string { return `{"keys":[{"kty":"canary"}]}` }),
	} {
		t.Run("useless/"+name, func(t *testing.T) {
			w, impostor, set := startVerifying(t)
			impostor.answers(keySetPath, answer(w, set))
			b := w.browser()
			w.failsCalmly(t, b.navigate, w.approve(b, w.Site+"/page"), http.StatusBadGateway, "token_refused")
			// go-oidc gives a fetch's result once more if asked at once
			waitUntil(t, "the fetch to be over", func() bool {
				return b.fetch(w.approve(b, w.Site+"/page")).StatusCode == http.StatusServiceUnavailable
			})
			// the key may be a new one by now, but nobody is asked twice in a minute
			a := w.failsCalmly(t, b.fetch, w.approve(b, w.Site+"/page"), http.StatusServiceUnavailable, "token_unverified")
			equal(t, "Retry-After", a.Header.Get("Retry-After"), "60")
			equal(t, "key sets fetched", impostor.calls(keySetPath), 1)
		})
	}
	t.Run("forged", func(t *testing.T) {
		w, impostor, set := startVerifying(t)
		forgedTokens(t, w, impostor, set)
	})
}

// forgedTokens come at a login and at a refresh.
func forgedTokens(t *testing.T, w *world, impostor *impostor, set string) {
	t.Helper()
	w.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	calls := func() int { return impostor.calls(tokenPath) }
	forged := w.forged(t, set)
	// a token of one second may be over before it was checked, in whole seconds
	browsers, expire := w.shortLived(len(forged)+1, 2*time.Second)
	for name, access := range forged {
		t.Run("login/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, says(`{"access_token":"`+access+`","token_type":"Bearer","expires_in":3600}`))
			w.loginFails(t, calls, http.StatusBadGateway, "token_refused")
			impostor.answers(tokenPath, nil)
			w.signedIn()
		})
	}
	// a refreshed token that cannot be trusted is not used, but the refresh token
	// that came with it is kept: the one before is dead
	expire()
	next := 0
	for name, access := range forged {
		b := browsers[next]
		next++
		t.Run("refresh/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, w.refreshedTo(access))
			w.refreshFails(t, b, calls)
		})
	}
	impostor.answers(tokenPath, nil)
	if n, _ := w.app.requests(); n > 0 {
		t.Errorf("the application got %d requests; its address was in tokens", n)
	}
	w.recover(t, browsers[:next])
	equal(t, "key sets fetched", impostor.calls(keySetPath), 1)
	// a key that cannot be had yet
	w.sim.RotateKeys()
	w.refreshFails(t, browsers[next], calls)
}

// refreshedTo is the simulator's answer to a refresh, with another access token
// in it.
func (w *world) refreshedTo(access string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		// its body has been read
		again := httptest.NewRequestWithContext(r.Context(), r.Method, tokenPath, strings.NewReader(r.PostForm.Encode()))
		again.Header, again.Host = r.Header, r.Host
		recorder := httptest.NewRecorder()
		w.sim.ServeHTTP(recorder, again)
		var answer map[string]any
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer["refresh_token"] == nil {
			w.t.Errorf("refreshing: %d %s: %v", recorder.Code, recorder.Body, err)
			return
		}
		answer["access_token"] = access
		_ = json.NewEncoder(rw).Encode(answer)
	}
}

// keySet is the simulator's.
func (w *world) keySet(t *testing.T) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	w.sim.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, keySetPath, nil))
	equal(t, "status of the key set", recorder.Code, http.StatusOK)
	return recorder.Body.String()
}

// forged are tokens with good claims that the auth server did not sign. What
// else can be wrong with one the tests of the package authserver know.
func (w *world) forged(t *testing.T, set string) map[string]string {
	t.Helper()
	var keys struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(set), &keys); err != nil || len(keys.Keys) == 0 {
		t.Fatal(set, err)
	}
	id, address := keys.Keys[0]["kid"], "http://"+w.App+"/jwks"
	modulus, err := base64.RawURLEncoding.DecodeString(keys.Keys[0]["n"])
	if err != nil {
		t.Fatal(err)
	}
	part := func(v map[string]any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	claims := part(map[string]any{
		"iss": w.AuthServer, "client_id": w.ClientID, "aud": "data_api", "sub": "canary",
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	with := func(header map[string]any, key []byte) string {
		header["kid"], header["typ"] = id, "at+jwt"
		content := part(header) + "." + claims
		if key == nil {
			return content + "."
		}
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, content)
		return content + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return map[string]string{
		"none":                     with(map[string]any{"alg": "none"}, nil),
		"HMAC with the public key": with(map[string]any{"alg": "HS256"}, modulus),
		"HMAC with the key set":    with(map[string]any{"alg": "HS256"}, []byte(set)),
		"HMAC under another name":  with(map[string]any{"alg": "RS256"}, modulus),
		"the address of a key":     with(map[string]any{"alg": "RS256", "jku": address, "x5u": address}, modulus),
		"a key of its own": with(map[string]any{"alg": "RS256", "jwk": map[string]any{
			"kty": "RSA", "kid": id, "n": base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xa5}, 256)), "e": "AQAB",
		}}, modulus),
		"opaque":   "canary-opaque",
		"too huge": with(map[string]any{"alg": "RS256", "x": strings.Repeat("x", 8<<10)}, modulus),
	}
}
