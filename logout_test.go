package truelayer

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// TestAskingDoesNotExtend: a front end that polls the session endpoint keeps
// nobody signed in.
func TestAskingDoesNotExtend(t *testing.T) {
	b := newBench(t, func(h *Handler) { h.IdleTimeout = caddy.Duration(10 * time.Minute) })
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
	store := &deletions{TokenStore: b.sessions.Store.(TokenStore)}
	b.sessions.Store = store
	logout := func(session string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, testOrigin+"/truelayer/logout", nil)
		r.AddCookie(&http.Cookie{Name: b.site.cookies.session, Value: session}) //nolint:gosec // as a browser sends it
		if err := b.ServeHTTP(httptest.NewRecorder(), r, nil); err != nil {
			t.Error(err)
		}
	}
	var invented session.Secret
	_, _ = rand.Read(invented[:])
	logout(cookieEncoding.EncodeToString(invented[:]))
	if store.n != 0 {
		t.Errorf("%d deletions for nobody", store.n)
	}
	v := signedIn(t, b)
	logout(v[b.site.cookies.session])
	if store.n != 1 || v.lasts(t, b) {
		t.Errorf("%d deletions, and the session lasts", store.n)
	}
}
