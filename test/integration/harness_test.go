// Package integration tests the module as it is used: a real Caddy in this
// process, a browser's requests, a simulated TrueLayer, an application behind
// reverse_proxy.
package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const (
	clientID     = "sandbox-integration"
	clientSecret = "integration-client-secret"
)

func TestMain(m *testing.M) {
	// Caddy must find nothing of the user's and leave nothing behind
	dir, err := os.MkdirTemp("", "truelayer-integration-")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		_ = os.Setenv(name, dir)
	}
	_ = os.Setenv("TEST_CLIENT_SECRET", clientSecret)
	code := m.Run()
	_ = caddy.Stop()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is a running Caddy with everything around it.
type world struct {
	t    *testing.T
	sim  *simulator.Simulator
	auth *httptest.Server
	app  *application
	log  *logFile

	// what Caddyfile templates use
	Port, Port2           int
	Site                  string // http://localhost:<Port>
	AuthServer            string
	App                   string // the application's host and port
	ClientID              string
	Data, Log             string
	Options               string // further options of the block
	Matcher               string
	Before, After, Global string // further directives and global options
}

// plain is a site with one block; tests with another shape write their own.
const plain = `{
	admin off
	persist_config off
	grace_period 1s
	storage file_system {{.Data}}
	log {
		level DEBUG
		output file {{.Log}}
	}
	{{.Global}}
}
http://localhost:{{.Port}} {
	{{.Before}}
	truelayer {{.Matcher}} {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/truelayer
		auth_server   {{.AuthServer}}
		{{.Options}}
	}
	{{.After}}
	reverse_proxy {{.App}}
}
`

// start runs Caddy with the template filled in; set changes what it is filled
// in with.
func start(t *testing.T, caddyfile string, set func(*world)) *world {
	t.Helper()
	w := &world{t: t, ClientID: clientID, Data: t.TempDir()}
	w.Log = w.Data + "/caddy.log"
	w.log = &logFile{path: w.Log}
	w.Port, w.Port2 = freePort(t), freePort(t)
	w.Site = fmt.Sprintf("http://localhost:%d", w.Port)
	w.app = newApplication(t)
	w.App = strings.TrimPrefix(w.app.server.URL, "http://")

	sim, err := simulator.New(simulator.Config{Clients: []simulator.Client{{
		ID: clientID, Secret: clientSecret, RedirectURIs: []string{
			w.Site + "/truelayer", w.Site + "/second", w.Site + "/bank/truelayer",
			fmt.Sprintf("http://localhost:%d/truelayer", w.Port2),
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	w.sim, w.auth = sim, httptest.NewServer(sim)
	t.Cleanup(w.auth.Close)
	w.AuthServer = w.auth.URL
	if set != nil {
		set(w)
	}
	if err := w.load(caddyfile); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return w
}

// load loads the template, as `caddy reload` would.
func (w *world) load(caddyfile string) error {
	w.t.Helper()
	config, err := w.adapt(caddyfile)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func (w *world) adapt(caddyfile string) ([]byte, error) {
	w.t.Helper()
	var text bytes.Buffer
	if err := template.Must(template.New("").Parse(caddyfile)).Execute(&text, w); err != nil {
		w.t.Fatal(err)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text.Bytes(), map[string]any{"filename": "Caddyfile"})
	return config, err
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// logFile is what Caddy wrote.
type logFile struct{ path string }

func (l *logFile) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// application is what stands behind the module: it remembers what it got.
type application struct {
	server *httptest.Server
	handle http.HandlerFunc // nil answers "hello"

	mu   sync.Mutex
	seen []*http.Request
}

func newApplication(t *testing.T) *application {
	t.Helper()
	a := &application{}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.seen = append(a.seen, r.Clone(context.WithoutCancel(r.Context())))
		handle := a.handle
		a.mu.Unlock()
		if handle != nil {
			handle(w, r)
			return
		}
		fmt.Fprint(w, "hello")
	}))
	t.Cleanup(a.server.Close)
	return a
}

func (a *application) answer(handle http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handle = handle
}

// requests returns how many requests came, and the last of them.
func (a *application) requests() (int, *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		return 0, nil
	}
	return len(a.seen), a.seen[len(a.seen)-1]
}

// browser has a cookie jar and follows no redirect by itself.
type browser struct {
	t      *testing.T
	client *http.Client
}

func (w *world) browser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{t: w.t, client: &http.Client{
		Jar:           jar,
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

func (a *answer) location() string { return a.Header.Get("Location") }

// problem reads a problem+json answer.
func (a *answer) problem(t *testing.T) map[string]any {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("Content-Type is %q, body %q", got, a.body)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *browser) do(method, target string, header ...string) *answer {
	b.t.Helper()
	a, err := b.try(b.t.Context(), method, target, header...)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *browser) try(ctx context.Context, method, target string, header ...string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if errors.Is(err, io.EOF) && method == http.MethodGet {
		resp, err = b.client.Do(req) // as browsers do: a reload closed the connection
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{resp, string(body)}, err
}

// navigate opens a page as a person does.
func (b *browser) navigate(target string) *answer {
	b.t.Helper()
	return b.do(http.MethodGet, target, asNavigation...)
}

var asNavigation = []string{
	"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document",
	"Accept", "text/html,application/xhtml+xml,*/*;q=0.8",
}

// fetch asks as a script does.
func (b *browser) fetch(target string) *answer {
	b.t.Helper()
	return b.do(http.MethodGet, target, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*")
}

// login opens target, connects a bank, and returns the callback's answer.
func (w *world) login(b *browser, target string) *answer {
	w.t.Helper()
	return b.navigate(w.approve(b, target))
}

// approve opens target, connects a bank, and returns the callback's URL.
func (w *world) approve(b *browser, target string) string {
	w.t.Helper()
	sent := b.navigate(target)
	if sent.StatusCode != http.StatusSeeOther || !strings.HasPrefix(sent.location(), w.AuthServer+"/?") {
		w.t.Fatalf("%s: not sent to the bank: %d %s %s", target, sent.StatusCode, sent.location(), sent.body)
	}
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		w.t.Fatal(err)
	}
	return callback
}

// signedIn returns a browser with a session.
func (w *world) signedIn() *browser {
	w.t.Helper()
	b := w.browser()
	if a := w.login(b, w.Site+"/"); a.StatusCode != http.StatusSeeOther || a.location() != "/" {
		w.t.Fatalf("login: %d %s %s", a.StatusCode, a.location(), a.body)
	}
	return b
}

// leaveDuringTokenRequest opens target and closes the tab while the token
// endpoint, which that made be asked, has not answered. It answers when the
// function that is returned is called.
func (w *world) leaveDuringTokenRequest(b *browser, target string) (answer func()) {
	w.t.Helper()
	hold := make(chan struct{})
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	before := w.sim.Calls(simulator.Token)
	ctx, closeTab := context.WithCancel(w.t.Context())
	gone := make(chan error)
	go func() {
		_, err := b.try(ctx, http.MethodGet, target, asNavigation...)
		gone <- err
	}()
	waitUntil(w.t, "the token request", func() bool { return w.sim.Calls(simulator.Token) > before })
	closeTab()
	if err := <-gone; err == nil {
		w.t.Fatal("the tab did not close")
	}
	return func() { close(hold) }
}

func query(t *testing.T, target string) url.Values {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// waitUntil waits for something that another goroutine does.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
