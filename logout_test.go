package truelayer

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestLogoutDuringRefresh: the session stays gone, whichever was first.
func TestLogoutDuringRefresh(t *testing.T) {
	b := newRefreshBench(t, nil)
	b.sim.Set(func(s *simulator.Settings) { s.CheapSignatures = true })
	for i := range 1000 {
		v := signedIn(t, b)
		secret := v.secret(t, b)
		b.clock.advance(2 * time.Hour)
		s, err := b.load(t.Context(), &secret, b.clock.now())
		if err != nil || s == nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = b.refresh(t.Context(), s) })
		wg.Go(func() {
			for range i % 20 * 50 {
				runtime.Gosched()
			}
			if err := b.store.Delete(t.Context(), s.id); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if left, err := b.load(t.Context(), &secret, b.clock.now()); left != nil || err != nil {
			t.Fatalf("round %d: the session came back", i)
		}
	}
}

// TestAskingDoesNotExtend: a front end that polls the session endpoint keeps
// nobody signed in.
func TestAskingDoesNotExtend(t *testing.T) {
	b := newBench(t, func(h *Handler) { h.SessionEndpoint, h.IdleTimeout = true, caddy.Duration(10*time.Minute) })
	v := signedIn(t, b)
	for range 4 {
		b.clock.advance(3 * time.Minute)
		v.ask(t, b.Handler, "/truelayer/session")
	}
	if v.lasts(t, b) {
		t.Error("the session lasts")
	}
}

// deletions is a store that counts what it is told to delete.
type deletions struct {
	TokenStore
	n int
}

func (s *deletions) Delete(ctx context.Context, id string) error {
	s.n++
	return s.TokenStore.Delete(ctx, id)
}

// TestLogoutOfNobody: a logout with invented cookies, which anybody can send,
// makes the store look and not write.
func TestLogoutOfNobody(t *testing.T) {
	b := newBench(t, nil)
	store := &deletions{TokenStore: b.store}
	b.store = store
	logout := func(session string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, testOrigin+"/truelayer/logout", nil)
		r.AddCookie(&http.Cookie{Name: b.cookies.session, Value: session}) //nolint:gosec // as a browser sends it
		if err := b.ServeHTTP(httptest.NewRecorder(), r, nil); err != nil {
			t.Error(err)
		}
	}
	var invented cookieSecret
	_, _ = rand.Read(invented[:])
	logout(cookieEncoding.EncodeToString(invented[:]))
	if store.n != 0 {
		t.Errorf("%d deletions for nobody", store.n)
	}
	v := signedIn(t, b)
	logout(v[b.cookies.session])
	if store.n != 1 || v.lasts(t, b) {
		t.Errorf("%d deletions, and the session lasts", store.n)
	}
}
