package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/redisstore"
)

// fillers is how many logins are under way at once.
const fillers = 64

// fill begins the sessions that the site has when the simulation starts, as the module
// begins them, but each at its own time in the past. Those of visits in progress began
// within the length of a visit; the others when their visitors were last there.
func (s *simulation) fill() {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: s.Context()})
	defer cancel()
	addresses := make([]string, len(s.shards))
	for i, shard := range s.shards {
		addresses[i] = shard.Address()
	}
	store := &redisstore.Store{Address: addresses, Cluster: true, CacheSize: new(0)}
	s.check(store.Provision(ctx))
	defer func() { s.check(store.Cleanup()) }()
	shared := session.NewShared(s.provider.url)
	defer func() { s.check(shared.Destruct()) }()

	var next atomic.Int64
	errs := make([]error, fillers)
	var all sync.WaitGroup
	for i := range fillers {
		// one network may only begin so many at once
		network := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)
		all.Go(func() {
			for n := next.Add(1) - 1; n < int64(s.sessions) && errs[i] == nil; n = next.Add(1) - 1 {
				began := time.Now().Add(-s.age(int(n)))
				s.visitors.secrets[n], errs[i] = s.begin(store, shared, began, network)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		s.check(err)
	}
}

// age is how long ago a session was used last.
func (s *simulation) age(n int) time.Duration {
	if n < s.inUse {
		return mathrand.N(s.visit) //nolint:gosec // random, not secret
	}
	const most = idleTimeout * 9 / 10
	mean := float64(s.visit) * float64(s.sessions-s.inUse) / float64(s.inUse)
	for {
		if age := mathrand.ExpFloat64() * mean; age < float64(most) { //nolint:gosec // random, not secret
			return time.Duration(age)
		}
	}
}

// begin begins a session at a time in the past.
func (s *simulation) begin(store session.Store, shared *session.Shared, began time.Time, network netip.Prefix) (session.Secret, error) {
	now := func() time.Time { return began }
	m := &session.Manager{
		Store:  pastStore{store, time.Since(began)},
		Client: &authserver.Client{Server: shared.Server, ID: clientID, Secret: authserver.NewSecret("secret"), Now: now},
		Shared: shared, Observer: nobody{}, Logger: zap.NewNop(), Now: now,
		Label:       s.provider.label(),
		Site:        strings.TrimPrefix(redirectURI, "http://"),
		IdleTimeout: idleTimeout, MaxLifetime: maxLifetime,
	}
	begun, err := m.Begin(s.Context(), session.Login{
		State: rand.Text(), RedirectURI: redirectURI, Scopes: strings.Fields(scopes), Started: began, Expires: began.Add(30 * time.Minute),
	}, "code", network)
	if err != nil {
		return session.Secret{}, fmt.Errorf("beginning a session: %w", err)
	}
	return begun.Secret, nil
}

// pastStore writes what was written some time ago: records have less time left by now, and
// the claims of logins have expired.
type pastStore struct {
	session.Store
	ago time.Duration
}

func (s pastStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	if session.IsClaim(record) {
		return nil
	}
	return s.Store.Create(ctx, id, record, ttl)
}

func (s pastStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	return s.Store.Replace(ctx, id, old, record, ttl-s.ago)
}

// nobody is an observer that is not interested.
type nobody struct{}

func (nobody) SessionBegan(context.Context, *session.Session)                     {}
func (nobody) LoginFailed(context.Context, string, *session.Error)                {}
func (nobody) RefreshFailed(context.Context, *session.Session, *session.Error)    {}
func (nobody) SessionEnded(context.Context, *session.Session, session.Cause)      {}
func (nobody) Disconnected(context.Context, *session.Session)                     {}
func (nobody) Waits(context.Context, session.Work, context.Context) (done func()) { return func() {} }
