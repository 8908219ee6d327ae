// Package browser tests the module with a real browser: Chromium goes through
// bank logins as a person does, with all the rules that only a browser knows.
package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const (
	clientID     = "sandbox-browser"
	clientSecret = "browser-client-secret"

	// patience is how long a test waits for anything; only failures take it.
	patience = 30 * time.Second
)

func TestMain(m *testing.M) {
	// Caddy must find nothing of the user's and leave nothing behind
	dir, err := os.MkdirTemp("", "truelayer-browser-")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		_ = os.Setenv(name, dir)
	}
	_ = os.Setenv("TEST_CLIENT_SECRET", clientSecret)
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// maxHeader is what the server in front of a site takes of a request's header, as
// many do.
const maxHeader = 8 << 10

// site is a Caddy with the module in this process, an application with a
// public home page and a protected account page behind it, and a TrueLayer.
type site struct {
	url  string // http://localhost:<port>
	bank string // the simulator, on 127.0.0.1: for a browser another site
	sim  *simulator.Simulator
}

const caddyfile = `{
	admin off
	persist_config off
	grace_period 1s
	default_bind 127.0.0.1
	storage file_system %[1]s
	log {
		level ERROR
	}
}
http://localhost:%[2]d {
	@account path /account /account/*
	truelayer @account {
		client_id     ` + clientID + `
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  %[5]s/truelayer
		auth_server   %[3]s
	}
	reverse_proxy %[4]s
}
`

// startSite starts a site whose application has further public pages, by path.
func startSite(t *testing.T, pages map[string]string) *site {
	t.Helper()
	port := freePort(t)
	return startSiteAt(t, port, fmt.Sprintf("http://localhost:%d", port), pages)
}

// startSiteBehind starts a site behind a server that refuses large headers.
func startSiteBehind(t *testing.T) *site {
	t.Helper()
	port := freePort(t)
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: fmt.Sprintf("localhost:%d", port)}))
	front.Config.MaxHeaderBytes = maxHeader - 4<<10 // net/http adds so much
	front.Start()
	t.Cleanup(front.Close)
	_, frontPort, _ := strings.Cut(strings.TrimPrefix(front.URL, "http://"), ":")
	return startSiteAt(t, port, "http://localhost:"+frontPort, nil)
}

// startSiteAt starts a site at a port, which browsers know by an address.
func startSiteAt(t *testing.T, port int, address string, pages map[string]string) *site {
	t.Helper()
	s := &site{url: address}
	s.sim = newSimulator(t, s.url+"/truelayer")
	s.bank = serve(t, s.sim)
	app := strings.TrimPrefix(serve(t, application(pages)), "http://")

	text := fmt.Sprintf(caddyfile, t.TempDir(), port, s.bank, app, s.url)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return s
}

func newSimulator(t *testing.T, redirectURI string) *simulator.Simulator {
	t.Helper()
	sim, err := simulator.New(simulator.Config{Clients: []simulator.Client{{
		ID: clientID, Secret: clientSecret, Name: "Browser test", RedirectURIs: []string{redirectURI},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// downloads counts those of the file below the account page.
var downloads atomic.Int64

// application shows on its account page what it was asked for and with what.
func application(pages map[string]string) http.Handler {
	mux := http.NewServeMux()
	add := func(path, body string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			if strings.HasSuffix(path, ".js") {
				w.Header().Set("Content-Type", "text/javascript")
				fmt.Fprint(w, body)
				return
			}
			fmt.Fprint(w, "<!DOCTYPE html>", body)
		})
	}
	add("/{$}", `<h1>Home</h1><a href="/account">My account</a>`)
	for path, body := range pages {
		add(path, body)
	}
	mux.HandleFunc("GET /account", func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		fmt.Fprintf(w, `<!DOCTYPE html><h1>My account</h1><p id="authorization">%s, %d</p><p id="cookies">%s</p><p id="destination">%s</p><a href="/account/file" download>Download</a>`, //nolint:gosec // what the test looks at
			scheme, len(token), r.Header.Get("Cookie"), r.Header.Get("Sec-Fetch-Dest"))
	})
	mux.HandleFunc("GET /account/file", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			downloads.Add(1)
		}
		fmt.Fprint(w, "a file")
	})
	mux.HandleFunc("POST /account", func(w http.ResponseWriter, r *http.Request) {
		file, header, err := r.FormFile("file")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		content, _ := io.ReadAll(file)
		fmt.Fprintf(w, `<!DOCTYPE html><h1>Sent</h1><p id="sent">%s, %s: %s</p>`, r.FormValue("name"), header.Filename, content) //nolint:gosec // what the test looks at
	})
	answerScripts(mux)
	return mux
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// exchanges is how many codes were sent to the token endpoint.
func (s *site) exchanges() int { return s.sim.CallsGrant("authorization_code") }

// holdToken makes the next exchange wait until the channel is closed.
func (s *site) holdToken(until <-chan struct{}) {
	s.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: until})
}

// sessions are the session cookies that the tab's browser holds.
func (s *site) sessions(tab *tab) (names []string) {
	for name := range tab.cookies(s.url) {
		if !strings.Contains(name, "-login-") {
			names = append(names, name)
		}
	}
	return names
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
