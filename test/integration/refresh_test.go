package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func startRefreshing(t *testing.T, more string) *world {
	t.Helper()
	return start(t, plain, func(w *world) {
		w.Options = "scopes verification offline_access\n\t\t" + more
	})
}

// info asks the session endpoint.
func (w *world) info(b *browser) map[string]any {
	w.t.Helper()
	a := b.fetch(w.Site + "/truelayer/session")
	var info map[string]any
	if err := json.Unmarshal([]byte(a.body), &info); err != nil || a.StatusCode != http.StatusOK {
		w.t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	return info
}

// signedInExpired returns a browser whose access token has just expired.
func (w *world) signedInExpired() *browser {
	w.t.Helper()
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Second })
	b := w.signedIn()
	expired := time.Now().Add(time.Second) // the token was asked for before that
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Hour })
	waitUntil(w.t, "the token to expire", func() bool { return time.Now().After(expired) })
	equal(w.t, "token_expires_in", w.info(b)["token_expires_in"], any(0.0))
	return b
}

// refreshes does not count what the test's own waiting may have begun.
func (w *world) refreshes() int { return w.sim.CallsGrant("refresh_token") }

func TestManyRequestsOneRefresh(t *testing.T) {
	w := startRefreshing(t, "")
	w.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	b := w.signedInExpired()
	b.client.Transport = &http.Transport{MaxIdleConnsPerHost: 500}
	var mu sync.Mutex
	tokens := make(map[string]int)
	w.app.answer(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tokens[r.Header.Get("Authorization")]++
	})
	hold := make(chan struct{})
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	const n = 500
	var wg sync.WaitGroup
	var arrived atomic.Int64
	for range n {
		wg.Go(func() {
			arrived.Add(1)
			a, err := b.try(t.Context(), "GET", w.Site+"/page")
			if err != nil || a.StatusCode != http.StatusOK {
				t.Errorf("%v %v", a, err)
			}
		})
	}
	waitUntil(t, "everybody to be on the way", func() bool { return arrived.Load() == n && w.refreshes() == 1 })
	close(hold)
	wg.Wait()
	equal(t, "refreshes", w.refreshes(), 1)
	equal(t, "different tokens upstream", len(tokens), 1)
	for _, count := range tokens {
		equal(t, "requests with the new token", count, n)
	}
}

// TestRefreshOutlivesTheClientAndAReload: the tab is closed and the
// configuration reloaded while a rotated token is on its way.
func TestRefreshOutlivesTheClientAndAReload(t *testing.T) {
	w := startRefreshing(t, "")
	w.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	b := w.signedInExpired()
	answer := w.leaveDuringTokenRequest(b, w.Site+"/page")
	w.Options += "\n\t\tidle_timeout 3h"
	if err := w.load(plain); err != nil {
		t.Fatal(err)
	}
	answer()
	equal(t, "the next visit", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "refreshes", w.refreshes(), 1)
}

// TestUpstream401 goes through unchanged, and the next request refreshes
// first, once.
func TestUpstream401(t *testing.T) {
	w := startRefreshing(t, "")
	b := w.signedIn()
	var tokens []string
	w.app.answer(func(rw http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		rw.Header().Set("X-From", "upstream")
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = rw.Write([]byte("who are you?"))
	})
	for _, want := range []int{0, 1, 1, 1} {
		a := b.navigate(w.Site + "/page")
		if a.StatusCode != http.StatusUnauthorized || a.body != "who are you?" || a.Header.Get("X-From") != "upstream" {
			t.Errorf("%d %s %v", a.StatusCode, a.body, a.Header)
		}
		equal(t, "refreshes", w.refreshes(), want)
	}
	equal(t, "requests upstream", len(tokens), 4)
	if tokens[0] == tokens[1] || tokens[1] != tokens[2] {
		t.Error("the second request should have carried a new token")
	}
}

func TestConsentEndsForPeopleAndMachines(t *testing.T) {
	w := startRefreshing(t, "")
	b := w.signedInExpired()
	w.sim.RevokeConsents()
	api := b.fetch(w.Site + "/page")
	equal(t, "status for a machine", api.StatusCode, http.StatusUnauthorized)
	equal(t, "reason", api.problem(t)["reason"], any("consent_expired"))
	equal(t, "session endpoint", w.info(b)["reason"], any("consent_expired"))
	page := b.navigate(w.Site + "/page")
	if page.StatusCode != http.StatusUnauthorized || !strings.Contains(page.body, "has ended") {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
	sent := b.navigate(w.Site + "/page")
	equal(t, "bank of the next login", query(t, sent.location()).Get("provider_id"), "mock")
	if n, _ := w.app.requests(); n != 0 {
		t.Errorf("%d requests went upstream", n)
	}
}

func TestConsentPlaceholders(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.After = "request_header X-Consent {http.truelayer.consent_expires}\n request_header X-Consent-In {http.truelayer.consent_expires_in}"
	})
	w.signedIn().navigate(w.Site + "/")
	_, got := w.app.requests()
	expires, err := time.Parse(time.RFC3339, got.Header.Get("X-Consent"))
	if days := time.Until(expires).Hours() / 24; err != nil || days < 89 || days > 91 {
		t.Errorf("X-Consent is %q", got.Header.Get("X-Consent"))
	}
	if in := got.Header.Get("X-Consent-In"); len(in) != 7 {
		t.Errorf("X-Consent-In is %q", in)
	}
}
