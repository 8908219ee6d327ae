package truelayer

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func TestLateCallback(t *testing.T) {
	b := newBench(t, nil)
	v := visitor{}
	callback := v.depart(t, b, "/page")
	b.clock.advance(31 * time.Minute)
	late, _ := v.ask(t, b.Handler, callback)
	if late.Code != http.StatusBadRequest || b.sim.Calls("token") != 0 {
		t.Errorf("status %d, %d exchanges", late.Code, b.sim.Calls("token"))
	}
}

// TestLostSessionPage: only a session that should be there and is not keeps a
// visitor from the bank.
func TestLostSessionPage(t *testing.T) {
	lose := func(b *bench, v visitor) { delete(v, b.site.cookies.session) }
	for _, test := range []struct {
		name  string
		token time.Duration
		after time.Duration
		lose  bool
		want  int
	}{
		{"cookie lost", time.Hour, time.Second, true, http.StatusUnauthorized},
		{"cookie lost a while ago", time.Hour, 2 * time.Minute, true, http.StatusSeeOther},
		{"token ended in the ordinary way", 10 * time.Second, 11 * time.Second, false, http.StatusSeeOther},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = test.token })
			v := signedIn(t, b)
			b.clock.advance(test.after)
			if test.lose {
				lose(b, v)
			}
			got, _ := v.ask(t, b.Handler, "/page")
			if got.Code != test.want {
				t.Errorf("status %d, want %d", got.Code, test.want)
			}
		})
	}
}

// anotherNode is the same handler in another process that shares the store.
func anotherNode(t *testing.T, h *Handler) *Handler {
	t.Helper()
	node := *h
	redirect, err := url.Parse(h.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	sessions, client := *h.sessions, *h.sessions.Client
	sessions.Client, sessions.Shared = &client, session.NewShared(h.AuthServer)
	client.Server = sessions.Shared.Server
	node.sessions = &sessions
	if node.site, err = node.newSite(redirect, &sessions, h.site.observer); err != nil {
		t.Fatal(err)
	}
	return &node
}

func TestTwoNodes(t *testing.T) {
	b := newBench(t, nil)
	other := anotherNode(t, b.Handler)
	v := visitor{}
	callback := v.depart(t, b, "/page") // begun on one,
	back, _ := v.ask(t, other, callback)
	if back.Header().Get("Location") != "/page" { // ended on the other,
		t.Fatalf("%d %v", back.Code, back.Header())
	}
	if !v.lasts(t, b) { // used on the first
		t.Error("the session is not known to the other node")
	}
}

// waitForExchange returns when the token endpoint has been asked.
func waitForExchange(b *bench) {
	for b.sim.Calls("token") == 0 {
		runtime.Gosched()
	}
}

// TestSameCallbackOnTwoNodes: the code is sent once, and nobody is stranded.
func TestSameCallbackOnTwoNodes(t *testing.T) {
	b := newBench(t, nil)
	other := anotherNode(t, b.Handler)
	v := visitor{}
	callback := v.depart(t, b, "/page")
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	first := make(chan *httptest.ResponseRecorder)
	twin := visitor{}
	maps.Copy(twin, v)
	go func() {
		back, _ := v.ask(t, b.Handler, callback)
		first <- back
	}()
	waitForExchange(b)
	second, _ := twin.ask(t, other, callback)
	close(hold)
	if back := <-first; back.Header().Get("Location") != "/page" {
		t.Errorf("first: %d %v", back.Code, back.Header())
	}
	if second.Code != http.StatusBadRequest {
		t.Errorf("second: %d %v", second.Code, second.Header())
	}
	maps.Copy(twin, v) // one browser: it has the first answer's cookies now
	again, _ := twin.ask(t, other, callback)
	if again.Header().Get("Location") != "/page" {
		t.Errorf("again: %d %v", again.Code, again.Header())
	}
	if n := b.sim.Calls("token"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// TestRequestsOutliveCleanup: a reload does not wait for requests.
func TestRequestsOutliveCleanup(t *testing.T) {
	b := newBench(t, nil)
	v := visitor{}
	callback := v.depart(t, b, "/page")
	if err := b.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if back, _ := v.ask(t, b.Handler, callback); back.Header().Get("Location") != "/page" || !v.lasts(t, b) {
		t.Errorf("%d %v", back.Code, back.Header())
	}
}

// callbackUntil sends new callbacks until one is answered with the status:
// go-oidc gives a fetch's result once more to who asks in the same moment.
func callbackUntil(t *testing.T, b *bench, status int) *httptest.ResponseRecorder {
	t.Helper()
	for range 100 {
		v := visitor{}
		if a, _ := v.ask(t, b.Handler, v.depart(t, b, "/page")); a.Code == status {
			return a
		}
	}
	t.Fatalf("no callback was answered with %d", status)
	return nil
}

// TestKeyRotation: a key that is not in the set makes it be fetched again, once
// a minute at most.
func TestKeyRotation(t *testing.T) {
	b := newBench(t, func(h *Handler) {
		h.VerifyAccessToken = h.AuthServer + "/.well-known/openid-configuration/jwks"
	})
	signedIn(t, b)
	b.sim.RotateKeys()
	for range 5 {
		if a := callbackUntil(t, b, http.StatusServiceUnavailable); a.Header().Get("Retry-After") != "60" {
			t.Errorf("status %d, %v", a.Code, a.Header())
		}
	}
	if n := b.sim.Calls(simulator.JWKS); n != 1 {
		t.Errorf("the key set was fetched %d times within a minute", n)
	}
	b.clock.advance(time.Minute)
	callbackUntil(t, b, http.StatusSeeOther)
	signedIn(t, b)
	if n := b.sim.Calls(simulator.JWKS); n != 2 {
		t.Errorf("the key set was fetched %d times", n)
	}
}

// TestLateCallbackSaysSo: the cookie of a login outlives the login, so that a visitor
// who comes back late is told so, and comes back to the page that they wanted.
func TestLateCallbackSaysSo(t *testing.T) {
	b := newBench(t, nil)
	v := visitor{}
	sent, _ := v.ask(t, b.Handler, "/page?a=1")
	for _, c := range cookiesOf(t, sent) {
		if time.Duration(c.MaxAge)*time.Second < 2*time.Hour {
			t.Errorf("the cookie lasts %d seconds", c.MaxAge)
		}
	}
	callback, err := b.sim.Grant(sent.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	b.clock.advance(45 * time.Minute)
	late, _ := v.ask(t, b.Handler, callback)
	if body := late.Body.String(); !strings.Contains(body, "login_expired") || !strings.Contains(body, url.QueryEscape("/page?a=1")) {
		t.Errorf("%d %s", late.Code, body)
	}
}
