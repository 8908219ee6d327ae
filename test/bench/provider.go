// Package bench measures what the module costs. Its benchmarks look at the
// handler and at the stores alone, in this process; the command in load puts a
// running Caddy with the module beside one without it, and the one in soak
// leaves it running under faults.
//
//	go test -run='^$' -bench=. ./test/bench
//	go run ./test/bench/load
//	go run ./test/bench/soak
//
// The benchmarks of the Redis store need a redis-server.
package bench

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const (
	// ClientID and ClientSecret are the ones that a Provider knows.
	ClientID     = "sandbox-bench"
	ClientSecret = "bench-client-secret"
	// secretVariable is the environment variable that configurations read it from.
	secretVariable = "TRUELAYER_BENCH_SECRET"

	// RedirectURI needs no port of the site's own: nobody follows it by its
	// host, a login takes its path and query to whatever site is measured.
	RedirectURI = "http://localhost:1/truelayer"
)

// Provider is a simulated TrueLayer on a port of the loopback interface.
type Provider struct {
	URL string

	simulator *simulator.Simulator
	server    *http.Server
}

// StartProvider starts a Provider. Its tokens outlive every measurement, and
// it does not sign them: that would cost more than all that is measured.
func StartProvider() (*Provider, error) {
	if err := os.Setenv(secretVariable, ClientSecret); err != nil {
		return nil, err
	}
	s, err := simulator.New(simulator.Config{Clients: []simulator.Client{{
		ID: ClientID, Secret: ClientSecret, RedirectURIs: []string{RedirectURI},
	}}})
	if err != nil {
		return nil, err
	}
	s.Set(func(settings *simulator.Settings) {
		settings.TokenLifetime = 24 * time.Hour
		settings.CheapSignatures = true
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Provider{
		URL:       "http://" + listener.Addr().String(),
		simulator: s,
		server:    &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second},
	}
	go func() { _ = p.server.Serve(listener) }()
	return p, nil
}

// Grant agrees to everything that an auth link asks for.
func (p *Provider) Grant(authLink string) (callback string, err error) {
	return p.simulator.Grant(authLink)
}

// Close ends the Provider. What it remembered is garbage then.
func (p *Provider) Close() {
	_ = p.server.Close()
	p.server.Handler = nil
	p.simulator = nil
}

// MemoryStore is the configuration of a memory store with room for so many
// records. Each login takes two.
func MemoryStore(records int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"type": "memory", "max_sessions": %d}`, records))
}

// HandlerConfig is the handler's configuration in a site whose logins go to
// the auth server and whose sessions are kept in the store. So many scopes
// make the access token as long as the real ones, about 1.5 KB.
func HandlerConfig(authServer string, store json.RawMessage, matcher string) json.RawMessage {
	config := fmt.Sprintf(`{
		"client_id": %q, "client_secret": %q, "redirect_uri": %q, "auth_server": %q,
		"scopes": ["products", "info", "accounts", "balance", "cards", "transactions", "direct_debits", "standing_orders", "offline_access"],
		"environment": "sandbox", "store": %s`,
		ClientID, "{env."+secretVariable+"}", RedirectURI, authServer, store)
	if matcher != "" {
		config += fmt.Sprintf(`, "match": [{"path": [%q]}]`, matcher)
	}
	return json.RawMessage(config + "}")
}
