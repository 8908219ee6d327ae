package truelayer

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const testOrigin = "https://app.example.com"

// clock is a clock that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// bench is a handler without a server, with a simulated TrueLayer.
type bench struct {
	*Handler
	sim   *simulator.Simulator
	clock *clock
}

func newBench(t *testing.T, change func(*Handler)) *bench {
	t.Helper()
	// whole seconds, as records keep them
	b := &bench{clock: &clock{at: time.Now().Truncate(time.Second)}}
	sim, err := simulator.New(simulator.Config{
		Clients: []simulator.Client{{ID: "client", Secret: "hunter2-client-secret", RedirectURIs: []string{testOrigin + "/truelayer"}}},
		Now:     b.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	b.sim = sim
	b.Handler = provision(t, func(h *Handler) {
		h.AuthServer = server.URL
		h.now = b.clock.now
		if change != nil {
			change(h)
		}
	})
	return b
}

// provision returns a handler as Caddy would have set it up.
func provision(t *testing.T, change func(*Handler)) *Handler {
	t.Helper()
	h, err := tryProvision(t, change)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func tryProvision(t *testing.T, change func(*Handler)) (*Handler, error) {
	t.Helper()
	secret := "hunter2-client-secret"
	h := &Handler{ClientID: "client", ClientSecret: &secret, RedirectURI: testOrigin + "/truelayer"}
	change(h)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	return h, h.Provision(ctx)
}

// visitor is a browser's cookies.
type visitor map[string]string

// ask sends a navigation and returns the answer and what next was given.
func (v visitor) ask(t *testing.T, h *Handler, target string) (*httptest.ResponseRecorder, *http.Request) {
	t.Helper()
	if !strings.HasPrefix(target, "https://") {
		target = testOrigin + target
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	for name, value := range v {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	var got *http.Request
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		got = r
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cookiesOf(t, w) {
		if c.MaxAge < 0 {
			delete(v, c.Name)
		} else {
			v[c.Name] = c.Value
		}
	}
	return w, got
}

func cookiesOf(t *testing.T, w *httptest.ResponseRecorder) (cookies []*http.Cookie) {
	t.Helper()
	for _, line := range w.Header()["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, c)
	}
	return cookies
}

// depart opens a page and returns the callback that the bank would send.
func (v visitor) depart(t *testing.T, b *bench, target string) string {
	t.Helper()
	sent, _ := v.ask(t, b.Handler, target)
	callback, err := b.sim.Grant(sent.Header().Get("Location"))
	if err != nil {
		t.Fatalf("%s: %d %v: %v", target, sent.Code, sent.Header(), err)
	}
	return callback
}

func signedIn(t *testing.T, b *bench) visitor {
	t.Helper()
	v := visitor{}
	back, _ := v.ask(t, b.Handler, v.depart(t, b, "/page"))
	if back.Header().Get("Location") != "/page" {
		t.Fatalf("login: %d %v", back.Code, back.Header())
	}
	return v
}

// lasts reports whether the visitor's request goes through.
func (v visitor) lasts(t *testing.T, b *bench) bool {
	t.Helper()
	_, got := v.ask(t, b.Handler, "/page")
	return got != nil
}

func TestCookieAttributes(t *testing.T) {
	b := newBench(t, nil)
	v := visitor{}
	sent, _ := v.ask(t, b.Handler, "/page")
	callback, err := b.sim.Grant(sent.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	back, _ := v.ask(t, b.Handler, callback)
	cookies := append(cookiesOf(t, sent), cookiesOf(t, back)...)
	if len(cookies) != 3 {
		t.Fatalf("cookies: %v", cookies)
	}
	for _, c := range cookies {
		if !strings.HasPrefix(c.Name, "__Host-truelayer-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("cookie %v", c)
		}
	}
}

func TestLifetimes(t *testing.T) {
	for _, test := range []struct {
		name     string
		idle     time.Duration
		most     time.Duration
		token    time.Duration
		steps    []time.Duration // between requests
		lastGoes bool
	}{
		{"used within the idle timeout", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{50 * time.Minute, 50 * time.Minute, 50 * time.Minute}, true},
		{"idle for too long", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{50 * time.Minute, 61 * time.Minute}, false},
		{"a short idle timeout slides too", time.Minute, 24 * time.Hour, 24 * time.Hour, []time.Duration{40 * time.Second, 40 * time.Second, 40 * time.Second}, true},
		{"the absolute end", 8 * time.Hour, 2 * time.Hour, 24 * time.Hour, []time.Duration{time.Hour, 59 * time.Minute, 2 * time.Minute}, false},
		{"the access token's end", 8 * time.Hour, 24 * time.Hour, time.Hour, []time.Duration{59 * time.Minute, time.Minute}, false},
		{"just before the access token's end", 8 * time.Hour, 24 * time.Hour, time.Hour, []time.Duration{59 * time.Minute, 58 * time.Second}, true},
		{"a clock that was set back", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{10 * time.Minute, -20 * time.Minute, 59 * time.Minute}, true},
		{"a clock that was set back does not keep a session for ever", time.Hour, 2 * time.Hour, 24 * time.Hour, []time.Duration{-time.Hour, time.Hour, 59 * time.Minute, 61 * time.Minute}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(h *Handler) {
				h.IdleTimeout, h.MaxLifetime = caddy.Duration(test.idle), caddy.Duration(test.most)
			})
			b.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = test.token })
			v := signedIn(t, b)
			for i, step := range test.steps {
				b.clock.advance(step)
				want := i < len(test.steps)-1 || test.lastGoes
				if got := v.lasts(t, b); got != want {
					t.Fatalf("step %d: request goes through: %v, want %v", i, got, want)
				}
			}
		})
	}
}

// countingStore counts writes.
type countingStore struct {
	TokenStore
	replaced int
}

func (s *countingStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	s.replaced++
	return s.TokenStore.Replace(ctx, id, old, record, ttl)
}

func TestTouchedOnceAMinute(t *testing.T) {
	b := newBench(t, nil)
	v := signedIn(t, b)
	counting := &countingStore{TokenStore: b.store}
	b.store = counting
	for range 300 {
		b.clock.advance(time.Second)
		v.lasts(t, b)
	}
	if counting.replaced != 5 {
		t.Errorf("written %d times in five minutes", counting.replaced)
	}
}

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
	lose := func(b *bench, v visitor) { delete(v, b.cookies.session) }
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
func anotherNode(h *Handler) *Handler {
	node := *h
	node.auth = newAuthServer(h.AuthServer)
	return &node
}

func TestTwoNodes(t *testing.T) {
	b := newBench(t, nil)
	other := anotherNode(b.Handler)
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
	other := anotherNode(b.Handler)
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

// TestCleanupWaitsForExchanges: a code that was sent is not lost because Caddy
// stops.
func TestCleanupWaitsForExchanges(t *testing.T) {
	b := newBench(t, nil)
	b.Handler = anotherNode(b.Handler) // with flights of its own to wait for
	v := visitor{}
	callback := v.depart(t, b, "/page")
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	back := make(chan *httptest.ResponseRecorder)
	go func() {
		got, _ := v.ask(t, b.Handler, callback)
		back <- got
	}()
	waitForExchange(b)
	cleaned := make(chan error)
	auth := b.auth
	go func() { cleaned <- auth.Destruct() }()
	close(hold)
	if err := <-cleaned; err != nil {
		t.Error(err)
	}
	if auth.landed.ItemCount() != 1 {
		t.Error("did not wait for the exchange")
	}
	if got := <-back; got.Header().Get("Location") != "/page" {
		t.Errorf("%d %v", got.Code, got.Header())
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

func TestNothingPrintsSecrets(t *testing.T) {
	b := newBench(t, nil)
	s := &session{bearer: authserver.NewSecret("hunter2-access"), refreshToken: authserver.NewSecret("hunter2-refresh")}
	l := &login{verifier: authserver.NewSecret("hunter2-verifier")}
	holder := struct {
		h *Handler
		v Handler
		s any
		l any
		t any
	}{b.Handler, Handler{ClientSecret: b.ClientSecret}, s, l, authserver.Token{Access: authserver.NewSecret("hunter2-token")}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, value := range []any{b.Handler, *b.Handler, holder, &holder, s, l, b.client, *b.client, b.loginKeys, holder.t} {
			if got := fmt.Sprintf(verb, value); strings.Contains(got, "hunter2") {
				t.Errorf("%s of %T prints a secret: %s", verb, value, got)
			}
		}
	}
}

func FuzzCallbackQuery(f *testing.F) {
	for _, seed := range []string{"", "code=a&state=b", "error=access_denied&error_description=x", "code=a&code=b", "code=%zz", "state=%00&code=%0a", "a;b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		a, ok := readAuthorizationResponse(query)
		if !ok {
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil || len(values["code"]) > 1 || len(values["state"]) > 1 || (a.code == "") == (a.err == "") {
			t.Errorf("accepted %q", query)
		}
	})
}
