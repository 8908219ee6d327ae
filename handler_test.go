package truelayer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

// arrived is a request that has just come to a block.
func arrived(r *http.Request) *request {
	q := newRequest(r, new(cookieNames), time.Now())
	return &q
}

// visitor is a browser's cookies.
type visitor map[string]string

// request is a navigation with the visitor's cookies.
func (v visitor) request(t *testing.T, method, target string) *http.Request {
	t.Helper()
	if !strings.HasPrefix(target, "https://") {
		target = testOrigin + target
	}
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	for name, value := range v {
		r.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // as browsers send them, without attributes
	}
	return r
}

// ask sends a navigation and returns the answer and what next was given.
func (v visitor) ask(t *testing.T, h *Handler, target string) (*httptest.ResponseRecorder, *http.Request) {
	t.Helper()
	r := v.request(t, http.MethodGet, target)
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
	h.sessions.Shared.Touches.Wait(t.Context()) // the visitor's clock stands still until then
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

func TestNothingPrintsSecrets(t *testing.T) {
	b := newBench(t, nil)
	l := &login{verifier: authserver.NewSecret("hunter2-verifier")}
	holder := struct {
		h *Handler
		v Handler
		l any
		t any
	}{b.Handler, Handler{ClientSecret: b.ClientSecret}, l, authserver.Token{Access: authserver.NewSecret("hunter2-token")}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, value := range []any{b.Handler, *b.Handler, holder, &holder, l, b.sessions.Client, *b.sessions.Client, b.site.login.logins.sealer, holder.t} {
			if got := fmt.Sprintf(verb, value); strings.Contains(got, "hunter2") {
				t.Errorf("%s of %T prints a secret: %s", verb, value, got)
			}
		}
	}
}
