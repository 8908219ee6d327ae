package truelayer

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
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
		"by another process": {func(t *testing.T, b *bench, _ visitor) {
			b.Handler = anotherNode(t, b.Handler) // which remembers nothing of it
		}, http.StatusBadRequest},
		"after a logout": {func(t *testing.T, b *bench, v visitor) {
			secret, _ := decodeSecret(v[b.site.cookies.session])
			if err := b.sessions.Store.Delete(t.Context(), b.sessions.Label.SessionID(&secret)); err != nil {
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
			session := v[b.site.cookies.session]
			test.before(t, b, v)
			again, _ := thief.ask(t, b.Handler, callback)
			if again.Code != test.want || b.sim.Calls(simulator.Token) != 1 {
				t.Errorf("%d %v, %d exchanges", again.Code, again.Header(), b.sim.Calls(simulator.Token))
			}
			switch cookies := again.Header().Values("Set-Cookie"); {
			case test.want == http.StatusSeeOther && thief[b.site.cookies.session] != session:
				t.Errorf("another session: %q", cookies)
			case test.want != http.StatusSeeOther && len(cookies) > 0:
				t.Errorf("cookies: %q", cookies)
			}
		})
	}
}

// lifetimes is a store that notes for how long records are kept, 0 for those that
// were deleted.
type lifetimes struct {
	TokenStore
	ttl   map[string]time.Duration
	claim string // the id of the last one
}

func (s *lifetimes) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	s.ttl[id] = ttl
	if session.IsClaim(record) {
		s.claim = id
	}
	return s.TokenStore.Create(ctx, id, record, ttl)
}

func (s *lifetimes) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	s.ttl[id] = ttl
	return s.TokenStore.Replace(ctx, id, old, record, ttl)
}

func (s *lifetimes) Delete(ctx context.Context, id string) error {
	s.ttl[id] = 0
	return s.TokenStore.Delete(ctx, id)
}

// kept is how many records were not deleted.
func (s *lifetimes) kept() (n int) {
	for _, ttl := range s.ttl {
		if ttl > time.Millisecond { // which is how claims are taken back
			n++
		}
	}
	return n
}

// TestClaims: that a code was sent is remembered in the store for as long as its
// login lasts, or as the code may be good if nobody knows what became of it.
// Nothing stays there of one that was refused, or that cannot have got to the
// token endpoint, and nothing of the session that was reserved.
func TestClaims(t *testing.T) {
	long, uncertain := loginLifetime+time.Minute, 10*time.Minute
	for name, test := range map[string]struct {
		code  string // in place of the bank's
		fault *simulator.Fault
		want  time.Duration
		again string // the reason when the callback is repeated
	}{
		"used":                       {"", nil, long, ""},
		"invented":                   {"invented", nil, 0, "code_refused"},
		"the wrong secret":           {"", &simulator.Fault{Status: 401, ContentType: "application/json", Body: `{"error":"invalid_client"}`}, 0, "client_refused"},
		"an error of HTTP":           {"", &simulator.Fault{Status: http.StatusForbidden}, 0, ""},
		"nobody knows: an error":     {"", &simulator.Fault{Status: http.StatusInternalServerError}, uncertain, "login_used"},
		"nobody knows: away":         {"", &simulator.Fault{Status: http.StatusServiceUnavailable}, uncertain, "login_used"},
		"nobody knows: no answer":    {"", &simulator.Fault{Truncate: true}, uncertain, "login_used"},
		"nobody knows: hanging up":   {"", &simulator.Fault{DropBefore: true}, uncertain, "login_used"},
		"nobody knows: a redirect":   {"", &simulator.Fault{Status: http.StatusFound}, uncertain, "login_used"},
		"used, but it is no success": {"", &simulator.Fault{Body: `{}`}, uncertain, "login_used"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			store := &lifetimes{b.sessions.Store.(TokenStore), make(map[string]time.Duration), ""}
			b.sessions.Store = store
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
			if got := store.ttl[store.claim]; got != test.want {
				t.Errorf("remembered for %v, want %v", got, test.want)
			}
			want := 0
			if test.want > 0 {
				want++
			}
			if name == "used" { // and the session
				want++
			}
			if got := store.kept(); got != want {
				t.Errorf("%d records are kept, want %d", got, want)
			}
			// whatever it was, it is not sent again at once
			again, _ := v.ask(t, b.Handler, callback)
			if n := b.sim.Calls(simulator.Token); n != 1 {
				t.Errorf("%d exchanges", n)
			}
			if test.again != "" && !strings.Contains(again.Body.String(), test.again) {
				t.Errorf("again: want %s: %d %s", test.again, again.Code, again.Body)
			}
		})
	}
}

// TestUnsentCode: what cannot have got to the token endpoint is as if it had never
// been: the visitor reloads the page.
func TestUnsentCode(t *testing.T) {
	b := newBench(t, nil)
	v := visitor{}
	callback := v.depart(t, b, "/page")
	server := b.sessions.Client.Server
	b.sessions.Client.Server = authserver.NewServer("http://127.0.0.1:1") // where nothing listens
	for range 3 {
		if a, _ := v.ask(t, b.Handler, callback); a.Code != http.StatusBadGateway {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
	b.sessions.Client.Server = server
	if a, _ := v.ask(t, b.Handler, callback); a.Header().Get("Location") != "/page" || !v.lasts(t, b) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// TestPausedExchange: while the auth server wants to be left alone for longer than
// a request lasts, nothing is sent, and the page comes again with its code. Others
// of the client do not ask either.
func TestPausedExchange(t *testing.T) {
	b := newBench(t, nil)
	v, other := visitor{}, visitor{}
	callback, another := v.depart(t, b, "/page"), other.depart(t, b, "/page")
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"90"}}})
	for range 3 {
		a, _ := v.ask(t, b.Handler, callback)
		if a.Code != http.StatusTooManyRequests || a.Header().Get("Retry-After") != "90" || a.Header().Get("Refresh") != "90" || !strings.Contains(a.Body.String(), "too_many_logins") {
			t.Errorf("%d %v", a.Code, a.Header())
		}
		if a, _ := other.ask(t, b.Handler, another); a.Code != http.StatusTooManyRequests {
			t.Errorf("another visitor: %d %v", a.Code, a.Header())
		}
	}
	if n := b.sim.Calls(simulator.Token); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	b.clock.advance(91 * time.Second)
	for _, v := range []struct {
		visitor
		url string
	}{{v, callback}, {other, another}} {
		if a, _ := v.ask(t, b.Handler, v.url); a.Header().Get("Location") != "/page" || !v.lasts(t, b) {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
}

// TestFullStoreSpendsNoCode: where there is no room for a session the code is not
// sent, and works once there is.
func TestFullStoreSpendsNoCode(t *testing.T) {
	b := newBench(t, func(h *Handler) { h.StoreRaw = json.RawMessage(`{"type": "memory", "max_sessions": 1}`) })
	first, second := signedIn(t, b), visitor{}
	callback := second.depart(t, b, "/page")
	for range 3 {
		if a, _ := second.ask(t, b.Handler, callback); a.Code != http.StatusServiceUnavailable || !strings.Contains(a.Body.String(), "sessions_full") {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
	if n := b.sim.Calls(simulator.Token); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if !first.lasts(t, b) {
		t.Error("somebody was signed out for it")
	}
	if err := b.sessions.Store.Delete(t.Context(), b.sessions.Label.SessionID(new(first.secret(t, b)))); err != nil {
		t.Fatal(err)
	}
	if a, _ := second.ask(t, b.Handler, callback); a.Header().Get("Location") != "/page" || !second.lasts(t, b) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}
