// Package integration tests the module as it is used: a real Caddy in this
// process, a browser's requests, a simulated TrueLayer, an application behind
// reverse_proxy.
package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
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

	secrets secrets // what must not be in anything that is written
	// leaky is a world in which a test wants to find some of them.
	leaky bool
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
	for w.Port2 == w.Port {
		w.Port2 = freePort(t)
	}
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
	w.secrets.add(clientSecret)
	if err := w.load(caddyfile); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		metrics := w.metrics()
		_ = caddy.Stop()
		if !w.leaky {
			for _, leak := range w.leaks(metrics) {
				t.Error("a secret is written: " + leak)
			}
		}
	})
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
	if err != nil {
		return nil, err
	}
	return w.logEverything(config), nil
}

// logEverything turns on all that Caddy can write, whatever the template says:
// debug messages, each handler that a request goes through, accesses. Both logs
// get the log filter, since codes are in both. A template with an access log of
// its own keeps that as it is, and Caddy's log without a filter.
func (w *world) logEverything(config []byte) []byte {
	w.t.Helper()
	var c map[string]any
	if err := json.Unmarshal(config, &c); err != nil {
		w.t.Fatal(err)
	}
	file := func(name string) map[string]any {
		return map[string]any{"output": "file", "filename": w.Data + "/" + name}
	}
	const accesses = "http.log.access.harness"
	own := false
	servers := object(c, "apps", "http", "servers")
	for name := range servers {
		logs := object(servers, name, "logs")
		own = own || logs["logger_names"] != nil || logs["default_logger_name"] != nil
		logs["trace"] = true
		if !own {
			logs["default_logger_name"] = "harness"
		}
	}
	all := object(c, "logging", "logs", "default")
	all["writer"], all["level"] = file("caddy.log"), "DEBUG"
	object(c, "logging", "sink")["writer"] = file("sink.log") // what package log is given
	if !own {
		exclude, _ := all["exclude"].([]any)
		all["exclude"] = append(exclude, accesses)
		fields := secretFields(config)
		all["encoder"] = map[string]any{"format": "filter", "fields": fields}
		object(c, "logging", "logs")["harness"] = map[string]any{
			"writer": file("access.log"), "include": []string{accesses},
			"encoder": map[string]any{"format": "filter", "fields": map[string]any{
				"request>uri": fields["request>uri"], "resp_headers>Location": fields["resp_headers>Location"],
			}},
		}
	}
	config, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return config
}

// secretFields are the fields of Caddy's logs that have secrets in them, with
// what takes them out. In an access log it is the first two.
func secretFields(config []byte) map[string]any {
	address := map[string]string{"filter": "truelayer"}
	fields := map[string]any{
		"request>uri":           address, // of errors as well, with disable_error_pages
		"resp_headers>Location": address,
		"uri":                   address, // what rewrite and handle_path made of it, with debug
		// forward_auth before the directive asks with the callback's address
		"request>headers>X-Forwarded-Uri": address,
	}
	// reverse_proxy logs what it sends, with debug; of the token's fields Caddy
	// knows only Authorization
	for _, match := range regexp.MustCompile(`"token_header":\{"field":"([^"]+)"`).FindAllSubmatch(config, -1) {
		fields["request>headers>"+http.CanonicalHeaderKey(string(match[1]))] = map[string]string{"filter": "delete"}
	}
	return fields
}

// object returns the object at a path, made where there is none.
func object(in map[string]any, path ...string) map[string]any {
	for _, name := range path {
		next, ok := in[name].(map[string]any)
		if !ok {
			next = make(map[string]any)
			in[name] = next
		}
		in = next
	}
	return in
}

// freePort is a port for Caddy to listen at, below the ones that systems choose
// for outgoing connections: one of these could take it before Caddy does.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.N(22_000)
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
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

// mark returns a function that tells what is written from now on.
func (l *logFile) mark(t *testing.T) (since func() string) {
	t.Helper()
	info, err := os.Stat(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		file, err := os.Open(l.path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		text, err := io.ReadAll(io.NewSectionReader(file, info.Size(), 1<<30))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// secrets are what a world's browsers were given. What TrueLayer issued the
// simulator knows.
type secrets struct {
	mu    sync.Mutex
	texts []string
}

func (s *secrets) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, texts...)
}

func (s *secrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// RoundTrip is a browser's way to the network. What it learns are the cookies
// that the browser is given, and the state of auth links.
func (s *secrets) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range resp.Cookies() {
		s.add(c.Value)
	}
	if link, err := resp.Location(); err == nil {
		s.add(link.Query().Get("state"), link.Query().Get("code_challenge"))
	}
	return resp, nil
}

// leaks says which secrets are in what was written, and where: in logs, in the
// storage, in metrics. It shows the beginnings of secrets only.
func (w *world) leaks(metrics string) (found []string) {
	w.t.Helper()
	written := map[string]string{"metrics": metrics}
	data := os.DirFS(w.Data)
	err := fs.WalkDir(data, ".", func(name string, entry fs.DirEntry, err error) error {
		var text []byte
		if err == nil && entry.Type().IsRegular() {
			text, err = fs.ReadFile(data, name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // while Caddy runs, its storage comes and goes
		}
		if written[name] = string(text); name == "access.log" {
			written[name] = withoutAstray(string(text))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var parts []string
	for _, secret := range append(w.sim.Secrets(), w.secrets.all()...) {
		if jwt := strings.Split(secret, "."); len(jwt) == 3 {
			parts = append(parts, jwt[1:]...) // the header is no secret; of the rest either half says enough
		} else {
			parts = append(parts, secret)
		}
	}
	look := finder(parts)
	for name, text := range written {
		for part := range look(text) {
			found = append(found, fmt.Sprintf("%s has %.12s…", name, part))
		}
	}
	return found
}

// finder looks for many texts at once, by their first eight bytes: a test may
// have thousands of secrets and write megabytes. Shorter ones are left out; a
// test's own "x" is found anywhere.
func finder(texts []string) func(in string) map[string]bool {
	const start = 8
	byStart := make(map[uint64][]string)
	var maybe [1 << 16]bool // most starts are none, which an array tells sooner
	slot := func(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 48 }
	for _, text := range texts {
		if len(text) > start {
			key := binary.BigEndian.Uint64([]byte(text))
			byStart[key] = append(byStart[key], text)
			maybe[slot(key)] = true
		}
	}
	return func(in string) map[string]bool {
		found := make(map[string]bool)
		var key uint64
		for i := range len(in) {
			key = key<<8 | uint64(in[i])
			if i+1 < start || !maybe[slot(key)] {
				continue
			}
			for _, text := range byStart[key] {
				if strings.HasPrefix(in[i+1-start:], text) {
					found[text] = true
				}
			}
		}
		return found
	}
}

// withoutAstray takes out of an access log what tests themselves put where it
// does not belong, and where neither Caddy nor the filter looks for it: tokens
// in fields for something else, codes under other names.
func withoutAstray(log string) string {
	var kept strings.Builder
	for log != "" {
		var before, fields string
		before, log, _ = strings.Cut(log, `"headers":{`)
		fields, log, _ = strings.Cut(log, "}")
		kept.WriteString(before)
		for _, name := range []string{"Cookie", "Authorization", "Proxy-Authorization"} {
			_, values, _ := strings.Cut(fields, `"`+name+`":[`)
			values, _, _ = strings.Cut(values, "]")
			kept.WriteString(values)
		}
	}
	return asArrays.ReplaceAllString(kept.String(), "")
}

// asArrays is a callback that one test asks for.
var asArrays = regexp.MustCompile(`code\[\]=[^&"]*&state\[\]=[^&"]*`)

// metrics is what a scrape would show.
func (w *world) metrics() string {
	w.t.Helper()
	active := caddy.ActiveContext()
	registry := active.GetMetricsRegistry()
	if registry == nil {
		return "" // nothing runs
	}
	families, err := registry.Gather()
	if err != nil {
		w.t.Error(err)
	}
	return fmt.Sprint(families)
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
		Transport:     &w.secrets,
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
	for range 3 { // as browsers do: a reload closed the connection, or the listener that had not accepted it yet
		if method != http.MethodGet || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			break
		}
		resp, err = b.client.Do(req)
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
