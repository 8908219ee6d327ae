package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"syscall"
	"text/template"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const (
	clientID     = "sandbox-cluster"
	clientSecret = "cluster-client-secret"
)

// Config says what a World is made of.
type Config struct {
	Caddy   string // the binary
	Nodes   int
	Store   string // the store, as it stands in a Caddyfile behind "store"
	Options string // further options of the directive
}

// World is some Caddys with the same application, store and TrueLayer.
type World struct {
	Owner
	Config
	Sim   *simulator.Simulator
	Auth  *AuthServer
	App   *Application
	Nodes []*Caddy

	// Front is the URL of the balancer, which sends each request to the next
	// node. The redirect URI lies there.
	Front string

	transport *http.Transport // the browsers'
}

// NewWorld starts everything but the nodes.
func NewWorld(o Owner, cfg Config) *World {
	o.Helper()
	w := &World{Owner: o, Config: cfg, App: newApplication(o), transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	o.Cleanup(w.transport.CloseIdleConnections)
	for i := range cfg.Nodes {
		w.Nodes = append(w.Nodes, newCaddy(o, cfg.Caddy, fmt.Sprintf("caddy %d", i)))
	}
	w.Front = serve(o, w.balancer()).URL
	sim, err := simulator.New(simulator.Config{Clients: []simulator.Client{{
		ID: clientID, Secret: clientSecret, RedirectURIs: []string{w.Front + "/truelayer"},
	}}})
	if err != nil {
		o.Fatalf("%v", err)
	}
	// nobody checks signatures here, and making them is slow under the race detector
	sim.Set(func(s *simulator.Settings) { s.CheapSignatures = true })
	w.Sim, w.Auth = sim, newAuthServer(o, sim)
	for _, node := range w.Nodes {
		node.write(w.Caddyfile(node, ""))
	}
	return w
}

// Start starts the nodes.
func (w *World) Start() *World {
	w.Helper()
	for _, node := range w.Nodes {
		node.Start()
	}
	return w
}

// serve starts a server in this process.
func serve(o Owner, handler http.Handler) *httptest.Server {
	server := httptest.NewServer(handler)
	o.Cleanup(func() { end(server) })
	return server
}

func end(server *httptest.Server) {
	server.CloseClientConnections()
	server.Close()
}

// balancer sends each request to the next node. It does not look after their
// health: a node is left out only where nothing listens.
func (w *World) balancer() http.Handler {
	var requests atomic.Uint64
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host },
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			first := requests.Add(1)
			for i := range uint64(len(w.Nodes)) {
				r.URL.Host = w.Nodes[(first+i)%uint64(len(w.Nodes))].URL[len("http://"):]
				resp, err := w.transport.RoundTrip(r)
				if !errors.Is(err, syscall.ECONNREFUSED) {
					return resp, err
				}
			}
			return nil, errors.New("no node listens")
		}),
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, err error) {
			http.Error(rw, err.Error(), http.StatusBadGateway)
		},
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var caddyfile = template.Must(template.New("").Parse(`{
	admin {{.Admin}}
	persist_config off
	default_bind 127.0.0.1
	servers {
		protocols h1
	}
	log {
		exclude admin tls http.auto_https http.log.error
	}
}
http://:{{.Port}} {
	truelayer {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Front}}/truelayer
		auth_server   {{.AuthServer}}
		scopes        verification offline_access
		store         {{.Store}}
		{{.Options}}
	}
	reverse_proxy {{.App}}
}
`))

// Caddyfile is a node's configuration with further options of the directive.
func (w *World) Caddyfile(node *Caddy, options string) string {
	var text bytes.Buffer
	err := caddyfile.Execute(&text, map[string]any{
		"Admin": strings.TrimPrefix(node.admin, "http://"), "Port": node.port, "ClientID": clientID, "Front": w.Front,
		"AuthServer": w.Auth.server.URL, "App": strings.TrimPrefix(w.App.server.URL, "http://"),
		"Store": w.Store, "Options": w.Options + "\n\t\t" + options,
	})
	if err != nil {
		w.Fatalf("%v", err)
	}
	return text.String()
}

// CloseIdleConnections closes all connections of the browsers, and of the
// nodes to the application and to the auth server.
func (w *World) CloseIdleConnections() {
	w.transport.CloseIdleConnections()
	w.App.server.CloseClientConnections()
	w.Auth.server.CloseClientConnections()
}
