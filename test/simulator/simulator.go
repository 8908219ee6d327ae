// Package simulator simulates TrueLayer: the auth server, its dialog with a few
// mock banks, and the part of the API that a connected account gives access to.
// Everything has one origin and is in memory.
//
// With the simulator, an application can be tried, tested and measured without an
// account at TrueLayer. It refuses what TrueLayer refuses, such as a redirect URI
// that is not registered, a code used twice, a wrong PKCE code verifier, and a
// token whose consent has ended. It can be told to misbehave: see Fail and
// Settings. It writes nothing to disk. Do not give it real secrets.
//
// It follows TrueLayer's API descriptions and documentation where these are
// public. A wrong client id or secret is answered with 400 invalid_client, and an
// unknown client has no providers. A wrong auth link is refused with status 400, or
// with a redirect to an address like TrueLayer's, see Settings. A user who cancels may come back without a state, or without any parameter, see
// Settings.
//
// Go code controls it through methods, and other processes over HTTP with JSON:
//
//	GET, PUT      /simulator/settings   see Settings; PUT changes what it names
//	POST, DELETE  /simulator/faults     see Fault; POST also names an "endpoint"
//	POST          /simulator/revoke     RevokeConsents
//	GET           /simulator/calls      Calls and CallsGrant
//
// Direct bank links and reauthentication links lead to a page of the bank, which is
// at the simulator's own address, and from there over /oauth/hybrid/callback to the
// application. Each of them works once and for 15 minutes.
//
// Not simulated: client credentials, the extension of a connection, discovery other
// than the JWKS, and Data API resources beyond me, info, accounts and an account.
package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Config is the configuration of a Simulator.
type Config struct {
	Clients []Client

	// Issuer is the base URL that tokens name as their issuer. If it is empty, that
	// is the scheme and Host of the token request.
	Issuer string

	// Now is the simulator's clock. If it is nil, that is time.Now. It must be safe
	// for concurrent use.
	Now func() time.Time
}

// Client is an application as it would be registered in the Console.
type Client struct {
	ID     string
	Secret string

	// Name is the application's name on the consent page. If it is empty, that is
	// the ID.
	Name string

	// RedirectURIs are the registered redirect URIs. The one in an authorization
	// request must be identical to one of them.
	RedirectURIs []string

	// NoBanks says that no provider is enabled for the client.
	NoBanks bool

	// NoDirect says that the client is not approved for direct bank links.
	NoDirect bool
}

// Simulator is an http.Handler that simulates TrueLayer. It is safe for concurrent
// use.
type Simulator struct {
	issuer  string
	now     func() time.Time
	clients map[string]Client
	mux     *http.ServeMux
	faults  faults
	record  record
	keys    keys

	mu          sync.Mutex // guards what follows
	settings    Settings
	dialogs     expiring[*dialog]
	bankLinks   expiring[*dialog]  // that nobody has followed yet
	completed   expiring[struct{}] // digests of auth links that led to a code
	codes       expiring[*authorization]
	connections expiring[*connection] // by subject
	refresh     expiring[string]      // refresh token -> subject, dead ones too
}

// These limits keep the simulator from using more and more memory, even after a
// flood of requests or a week of benchmarks. The lifetimes are those of
// TrueLayer, where it has any.
const (
	maxDialogs     = 10_000
	maxCompleted   = 100_000
	maxCodes       = 10_000
	maxConnections = 100_000
	maxRefresh     = 200_000

	dialogLifetime    = 30 * time.Minute
	bankLinkLifetime  = 15 * time.Minute
	completedLifetime = 24 * time.Hour
	codeLifetime      = 5 * time.Minute

	// reauthPeriod is for how long after the end of its consent a connection can be
	// renewed.
	reauthPeriod = 90 * 24 * time.Hour
)

// New returns a Simulator for the clients in cfg.
func New(cfg Config) (*Simulator, error) {
	clients, err := registered(cfg.Clients)
	if err != nil {
		return nil, err
	}
	s := &Simulator{
		issuer:      cfg.Issuer,
		now:         cfg.Now,
		clients:     clients,
		settings:    defaultSettings(),
		dialogs:     expiring[*dialog]{max: maxDialogs},
		bankLinks:   expiring[*dialog]{max: maxDialogs},
		completed:   expiring[struct{}]{max: maxCompleted},
		codes:       expiring[*authorization]{max: maxCodes},
		connections: expiring[*connection]{max: maxConnections},
		refresh:     expiring[string]{max: maxRefresh},
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.keys.published = []*signingKey{firstKey()}
	for _, c := range clients {
		s.record.secret(c.Secret)
	}
	s.routes()
	return s, nil
}

func registered(clients []Client) (map[string]Client, error) {
	if len(clients) == 0 {
		return nil, errors.New("no client: give at least one")
	}
	byID := make(map[string]Client, len(clients))
	for _, c := range clients {
		if c.ID == "" || c.Secret == "" || len(c.RedirectURIs) == 0 {
			return nil, fmt.Errorf("client %q: give it an ID, a secret and a redirect URI", c.ID)
		}
		if _, taken := byID[c.ID]; taken {
			return nil, fmt.Errorf("client %q: registered twice, give each ID once", c.ID)
		}
		for _, uri := range c.RedirectURIs {
			u, err := url.Parse(uri)
			if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.Fragment != "" {
				return nil, fmt.Errorf("client %q: redirect URI %q: give an absolute http or https URL without a fragment", c.ID, uri)
			}
		}
		if c.Name == "" {
			c.Name = c.ID
		}
		byID[c.ID] = c
	}
	return byID, nil
}

func (s *Simulator) routes() {
	s.mux = http.NewServeMux()
	s.mux.Handle("GET /{$}", s.endpoint(Authorize, s.serveAuthorize))
	s.mux.HandleFunc("GET /error", serveRefused)
	s.mux.HandleFunc("GET /dialog/{step}", s.serveStep)
	s.mux.HandleFunc("POST /dialog/{step}", s.takeStep)

	s.mux.Handle("POST /v1/authuri", s.endpoint(AuthURI, s.serveAuthURI))
	s.mux.Handle("POST /v1/reauthuri", s.endpoint(ReauthURI, s.serveReauthURI))
	s.mux.HandleFunc("GET /bank/{provider}/authorize", s.serveBankLink)
	s.mux.HandleFunc("GET "+hybridCallback, s.serveHybridCallback)

	s.mux.Handle("POST /connect/token", s.endpoint(Token, s.serveToken))
	s.mux.Handle("GET /.well-known/openid-configuration/jwks", s.endpoint(JWKS, s.serveJWKS))
	s.mux.Handle("GET /api/providers", s.endpoint(Providers, s.serveProviders))
	s.mux.Handle("DELETE /api/delete", s.endpoint(Delete, s.serveDelete))
	s.mux.Handle("GET /logos/{file}", s.endpoint(Logo, serveLogo))

	s.mux.Handle("POST /verification/v1/verify", s.endpoint(Verify, s.serveVerify))
	s.mux.Handle("GET /data/v1/", s.endpoint(Data, s.serveData))

	s.mux.HandleFunc("GET /simulator/settings", s.serveSettings)
	s.mux.HandleFunc("PUT /simulator/settings", s.changeSettings)
	s.mux.HandleFunc("POST /simulator/faults", s.addFault)
	s.mux.HandleFunc("DELETE /simulator/faults", s.dropFaults)
	s.mux.HandleFunc("POST /simulator/revoke", s.revoke)
	s.mux.HandleFunc("GET /simulator/calls", s.serveCalls)
}

// ServeHTTP implements http.Handler. It answers as TrueLayer's auth server, dialog
// and API would.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r)
}

// RevokeConsents ends the consent of every existing connection, including those
// whose code has not been exchanged yet.
func (s *Simulator) RevokeConsents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections.each(func(c *connection) { c.ended = true })
}

// RotateKeys makes a new signing key. The previous key stays published, so its
// tokens stay valid. Older keys are removed.
func (s *Simulator) RotateKeys() {
	s.keys.rotate(newKey())
}

// base returns the issuer, or else the simulator's address.
func (s *Simulator) base(r *http.Request) string {
	if s.issuer != "" {
		return s.issuer
	}
	return address(r)
}

// address returns the URL under which the caller reached the simulator.
func address(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// clock returns the simulator's time, including ClockSkew. The caller holds mu.
func (s *Simulator) clock() time.Time {
	return s.now().Add(s.settings.ClockSkew)
}
