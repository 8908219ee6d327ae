package truelayer

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestCallbackRepeated: a login cookie and its callback bring the session of
// that login again for a minute, in which the first answer may have been lost.
// After that, or once the visitor has signed out, they bring nothing.
func TestCallbackRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		before func(*testing.T, *bench, visitor)
		want   int
	}{
		"at once": {func(*testing.T, *bench, visitor) {}, http.StatusSeeOther},
		"after a minute": {func(_ *testing.T, b *bench, _ visitor) {
			b.auth.landed.Flush()
		}, http.StatusBadRequest},
		"after a logout": {func(t *testing.T, b *bench, v visitor) {
			secret, _ := decodeCookieSecret(v[b.cookies.session])
			if err := b.store.Delete(t.Context(), b.label.sessionID(&secret)); err != nil {
				t.Fatal(err)
			}
		}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			v := visitor{}
			callback := v.depart(t, b, "/page")
			thief := visitor{}
			maps.Copy(thief, v)
			if a, _ := v.ask(t, b.Handler, callback); a.Code != http.StatusSeeOther {
				t.Fatalf("login: %d", a.Code)
			}
			session := v[b.cookies.session]
			test.before(t, b, v)
			again, _ := thief.ask(t, b.Handler, callback)
			if again.Code != test.want || b.sim.Calls(simulator.Token) != 1 {
				t.Errorf("%d %v, %d exchanges", again.Code, again.Header(), b.sim.Calls(simulator.Token))
			}
			switch cookies := again.Header().Values("Set-Cookie"); {
			case test.want == http.StatusSeeOther && thief[b.cookies.session] != session:
				t.Errorf("another session: %q", cookies)
			case test.want != http.StatusSeeOther && len(cookies) > 0:
				t.Errorf("cookies: %q", cookies)
			}
		})
	}
}

// lifetimes is a store that notes for how long records are kept.
type lifetimes struct {
	TokenStore
	ttl map[string]time.Duration
}

func (s *lifetimes) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	s.ttl[id] = ttl
	return s.TokenStore.Create(ctx, id, record, ttl)
}

func (s *lifetimes) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	s.ttl[id] = ttl
	return s.TokenStore.Replace(ctx, id, old, record, ttl)
}

// TestClaims: that a code was sent is remembered for as long as its login
// lasts, but for a minute only if it was refused. Callbacks with invented codes
// would fill the store otherwise.
func TestClaims(t *testing.T) {
	long, short := loginLifetime+time.Minute, time.Minute
	for name, test := range map[string]struct {
		code  string // in place of the bank's
		fault *simulator.Fault
		want  time.Duration
	}{
		"used":                       {"", nil, long},
		"invented":                   {"invented", nil, short},
		"too many requests":          {"", &simulator.Fault{Status: http.StatusTooManyRequests}, short},
		"the wrong secret":           {"", &simulator.Fault{Status: http.StatusUnauthorized}, short},
		"nobody knows: an error":     {"", &simulator.Fault{Status: http.StatusInternalServerError}, long},
		"nobody knows: no answer":    {"", &simulator.Fault{Truncate: true}, long},
		"nobody knows: a redirect":   {"", &simulator.Fault{Status: http.StatusFound}, long},
		"used, but it is no success": {"", &simulator.Fault{Body: `{}`}, long},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			store := &lifetimes{b.store, make(map[string]time.Duration)}
			b.store = store
			v := visitor{}
			callback := v.depart(t, b, "/page")
			if test.code != "" {
				before, _, _ := strings.Cut(callback, "code=")
				_, after, _ := strings.Cut(callback, "&")
				callback = before + "code=" + test.code + "&" + after
			}
			if test.fault != nil {
				test.fault.Times = 1
				b.sim.Fail(simulator.Token, *test.fault)
			}
			v.ask(t, b.Handler, callback)
			_, state, _ := strings.Cut(callback, "state=")
			if got := store.ttl[b.claimID(state)]; got != test.want {
				t.Errorf("remembered for %v, want %v", got, test.want)
			}
			// whatever it was, it is not sent again at once
			v.ask(t, b.Handler, callback)
			if n := b.sim.Calls(simulator.Token); n != 1 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}
