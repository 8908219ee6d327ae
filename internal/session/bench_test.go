package session

import (
	"bytes"
	"context"
	"io/fs"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const testRedirect = "https://app.example.com/truelayer"

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

// records is a store without lifetimes.
type records struct {
	mu sync.Mutex
	of map[string][]byte
}

func (s *records) Get(_ context.Context, id string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if record, ok := s.of[id]; ok {
		return record, nil
	}
	return nil, fs.ErrNotExist
}

func (s *records) Create(_ context.Context, id string, record []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.of[id]; ok {
		return fs.ErrExist
	}
	s.of[id] = record
	return nil
}

func (s *records) Replace(_ context.Context, id string, old, record []byte, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch current, ok := s.of[id]; {
	case !ok:
		return fs.ErrNotExist
	case !bytes.Equal(current, old):
		return ErrConflict
	}
	s.of[id] = record
	if ttl <= time.Millisecond {
		delete(s.of, id) // it would be gone when somebody looks
	}
	return nil
}

func (s *records) Delete(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, id)
	return nil
}

// nobody observes nothing.
type nobody struct{}

func (nobody) SessionBegan(context.Context, *Session)              {}
func (nobody) LoginFailed(context.Context, string, *Error)         {}
func (nobody) RefreshFailed(context.Context, *Session, *Error)     {}
func (nobody) SessionEnded(context.Context, *Session, Cause)       {}
func (nobody) Disconnected(context.Context, *Session)              {}
func (nobody) Waits(context.Context, Work, context.Context) func() { return func() {} }

// bench is a manager with a simulated TrueLayer.
type bench struct {
	*Manager
	sim   *simulator.Simulator
	clock *clock
}

func newBench(t *testing.T) *bench {
	t.Helper()
	// whole seconds, as tokens have them
	b := &bench{clock: &clock{at: time.Now().Truncate(time.Second)}}
	sim, err := simulator.New(simulator.Config{
		Clients: []simulator.Client{{ID: "client", Secret: "client-secret", RedirectURIs: []string{testRedirect}}},
		Now:     b.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	b.sim = sim
	b.Manager = &Manager{
		Store:          &records{of: make(map[string][]byte)},
		Client:         &authserver.Client{ID: "client", Secret: authserver.NewSecret("client-secret"), Now: b.clock.now},
		Observer:       nobody{},
		Logger:         zap.NewNop(),
		Now:            b.clock.now,
		Label:          NewLabel("a test"),
		Site:           "app.example.com/truelayer",
		IdleTimeout:    365 * 24 * time.Hour,
		MaxLifetime:    365 * 24 * time.Hour,
		RefreshTimeout: 10 * time.Second,
	}
	b.share(t, server.URL)
	return b
}

// share gives the manager what blocks share, anew.
func (b *bench) share(t *testing.T, server string) {
	t.Helper()
	shared := NewShared(server)
	b.Shared, b.Client.Server = shared, shared.Server
	t.Cleanup(func() {
		if err := shared.Destruct(); err != nil {
			t.Error(err)
		}
	})
}

// anotherNode is the same manager in another process that shares the store.
func (b *bench) anotherNode(t *testing.T) *bench {
	t.Helper()
	m, client := *b.Manager, *b.Client
	m.Client = &client
	node := &bench{&m, b.sim, b.clock}
	node.share(t, b.Client.Server.Base())
	return node
}

// depart begins a login and returns it with the code that the bank gives.
func (b *bench) depart(t *testing.T) (Login, string) {
	t.Helper()
	l := Login{State: string(newState()), RedirectURI: testRedirect, Scopes: []string{"verification", "offline_access"}, Started: b.clock.now(), Expires: b.clock.now().Add(30 * time.Minute)}
	callback, err := b.sim.Grant(b.Client.AuthLink(authserver.AuthorizationRequest{RedirectURI: testRedirect, Scopes: l.Scopes, Providers: []string{"uk-cs-mock"}, State: l.State}))
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	return l, address.Query().Get("code")
}

func newState() []byte {
	secret := NewSecret()
	state := make([]byte, len(secret))
	for i, c := range secret {
		state[i] = 'a' + c%26
	}
	return state
}

// signIn begins a session and returns its cookie's secret.
func (b *bench) signIn(t *testing.T) Secret {
	t.Helper()
	l, code := b.depart(t)
	begun, err := b.Begin(t.Context(), l, code, netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	return begun.Secret
}

// token is the access token that a request of the visitor would carry now, "" if
// there is none.
func (b *bench) token(t *testing.T, secret Secret) string {
	t.Helper()
	s, err := b.Find(t.Context(), []Secret{secret}, b.clock.now())
	if s == nil || err != nil {
		return ""
	}
	s, err = b.WithUsableToken(t.Context(), s, b.clock.now())
	b.Shared.Touches.Wait(t.Context()) // the clock stands still until then
	if s == nil || err != nil || s.IsOver(b.clock.now()) {
		return ""
	}
	return s.Bearer()
}

// open is the visitor's session, which must be there.
func (b *bench) open(t *testing.T, secret Secret) *Session {
	t.Helper()
	s, err := b.load(t.Context(), &secret, b.clock.now())
	if err != nil || s == nil {
		t.Fatalf("no session: %v", err)
	}
	return s
}

func (b *bench) refreshes() int { return b.sim.CallsGrant("refresh_token") }

// testToken is what a refresh might bring.
func testToken(b *bench) authserver.Token {
	return authserver.Token{Access: authserver.NewSecret("new"), Issued: b.clock.now(), Expires: b.clock.now().Add(time.Hour)}
}
