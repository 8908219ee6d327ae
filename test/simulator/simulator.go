// Package simulator is a TrueLayer for a laptop: the auth server, its dialog
// with a few mock banks, and the part of the API that a connected account
// opens, all on one origin and in memory.
//
// It exists so that an application can be tried, tested and measured without
// an account at TrueLayer. It therefore refuses what the service refuses (a
// redirect URI that is not registered, a code used twice, a wrong PKCE code
// verifier, a token after its consent) and can be told to misbehave: see Fail
// and Settings. It keeps nothing on disk, and it is no place for a real secret.
//
// It agrees with TrueLayer's API descriptions and documents where these are
// public. A wrong id or secret of a client is 400 invalid_client, and a user who
// cancels may come back without a state or without any parameter, as Settings
// says.
//
// Go code turns its knobs by calling it, other processes over HTTP and in JSON:
//
//	GET, PUT      /simulator/settings   see Settings; PUT leaves out what stays
//	POST, DELETE  /simulator/faults     see Fault; POST names an "endpoint", too
//	POST          /simulator/revoke     RevokeConsents
//	GET           /simulator/calls      Calls and CallsGrant
//
// Not simulated: client credentials, the direct and reauthentication links,
// discovery other than the JWKS, and Data API resources beyond me, info,
// accounts and an account.
package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Config says who may use the simulator and under which name it speaks.
type Config struct {
	Clients []Client

	// Issuer is the base URL that tokens name as their issuer. Empty: the
	// scheme and Host of the token request.
	Issuer string

	// Now is the simulator's clock; nil is time.Now. It is asked from many
	// goroutines at once.
	Now func() time.Time
}

// Client is an application as it would be registered in the Console.
type Client struct {
	ID     string
	Secret string

	// Name is what the consent page calls the application; empty is the ID.
	Name string

	// RedirectURIs are compared with the authorization request letter by letter.
	RedirectURIs []string
}

// Simulator is an http.Handler that plays TrueLayer. All its methods may be
// used from many goroutines at once.
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
	completed   expiring[struct{}] // digests of auth links that led to a code
	codes       expiring[*authorization]
	connections expiring[*connection] // by subject
	refresh     expiring[string]      // refresh token -> subject, dead ones too
}

// Everything the simulator remembers has a most and, where the service gives
// it a life, an end: an anonymous flood or a week of benchmarks must not grow
// it without bound.
const (
	maxDialogs     = 10_000
	maxCompleted   = 100_000
	maxCodes       = 10_000
	maxConnections = 100_000
	maxRefresh     = 200_000

	dialogLifetime    = 30 * time.Minute
	completedLifetime = 24 * time.Hour
	codeLifetime      = 5 * time.Minute
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
	s.mux.HandleFunc("GET /dialog/{step}", s.serveStep)
	s.mux.HandleFunc("POST /dialog/{step}", s.takeStep)

	s.mux.Handle("POST /connect/token", s.endpoint(Token, s.serveToken))
	s.mux.Handle("GET /.well-known/openid-configuration/jwks", s.endpoint(JWKS, s.serveJWKS))
	s.mux.Handle("GET /api/providers", s.endpoint(Providers, s.serveProviders))
	s.mux.Handle("DELETE /api/delete", s.endpoint(Delete, s.serveDelete))
	s.mux.HandleFunc("GET /logos/{file}", serveLogo)

	s.mux.Handle("POST /verification/v1/verify", s.endpoint(Verify, s.serveVerify))
	s.mux.Handle("GET /data/v1/", s.endpoint(Data, s.serveData))

	s.mux.HandleFunc("GET /simulator/settings", s.serveSettings)
	s.mux.HandleFunc("PUT /simulator/settings", s.changeSettings)
	s.mux.HandleFunc("POST /simulator/faults", s.addFault)
	s.mux.HandleFunc("DELETE /simulator/faults", s.dropFaults)
	s.mux.HandleFunc("POST /simulator/revoke", s.revoke)
	s.mux.HandleFunc("GET /simulator/calls", s.serveCalls)
}

// ServeHTTP answers as TrueLayer's auth server, dialog and API would.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r)
}

// RevokeConsents ends the consent of every connection there is, also of those
// whose code has not been exchanged yet.
func (s *Simulator) RevokeConsents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections.each(func(c *connection) { c.ended = true })
}

// RotateKeys makes a new signing key. The one before stays published, so its
// tokens stay valid; the one before that is gone.
func (s *Simulator) RotateKeys() {
	s.keys.rotate(newKey())
}

// base is the URL under which the caller reached the simulator.
func (s *Simulator) base(r *http.Request) string {
	if s.issuer != "" {
		return s.issuer
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// clock is the service's own time: the injected clock and its skew. The
// caller holds mu.
func (s *Simulator) clock() time.Time {
	return s.now().Add(s.settings.ClockSkew)
}
