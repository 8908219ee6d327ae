// Package integration tests the module as it is used: a real Caddy in this
// process, a browser's requests, a simulated TrueLayer, an application behind
// reverse_proxy.
package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
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
	if err := trust(dir); err != nil {
		panic(err)
	}
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
	// logsAsWritten is a world whose template says all there is to log.
	logsAsWritten bool
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
			w.Site + "/truelayer", w.Site + "/second", w.Site + "/third", w.Site + "/bank/truelayer",
			fmt.Sprintf("http://localhost:%d/truelayer", w.Port2), fmt.Sprintf("https://localhost:%d/truelayer", w.Port),
			"https://app.example.com/truelayer", "https://app.example.com:443/truelayer", "HTTPS://App.Example.com:443/truelayer",
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
	if w.logsAsWritten {
		return config, nil
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
		"request>uri":           address,
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

func freePort(t *testing.T) int {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
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

// awaitWaiting waits until n requests wait for an exchange or a refresh. Nothing that the
// module shows says so before they have waited.
func awaitWaiting(t *testing.T, n int) {
	t.Helper()
	stacks := make([]byte, 4<<20)
	waitUntil(t, "those that wait", func() bool {
		return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("flight.(*Flight).Await(")) == n
	})
}
