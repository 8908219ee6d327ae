package main

import (
	"context"
	"crypto/rand"
	"errors"
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
const fillers = 32

// past is what happened to a session before the simulation starts.
type past struct {
	issued time.Duration // how long ago its token was issued
	noted  time.Duration // how long ago its use was noted, at most issued
	inUse  bool          // a visit is in progress
}

// newPast draws a past: visits and times away in turn, as the visitors go on to have them,
// with the refreshes and notes that the module makes of them.
func (o *options) newPast() past {
	const (
		length = 8 * time.Hour
		touch  = idleTimeout / 32
	)
	refresh := o.token - min(5*time.Minute, o.token/10) // after the token was issued
	var (
		now    = -length
		issued = now - mathrand.N(refresh)                                 //nolint:gosec // random, not secret
		noted  = now                                                       // when that was, as issued
		inUse  = mathrand.Float64() < float64(o.inUse)/float64(o.sessions) //nolint:gosec // random, not secret
	)
	for now < 0 {
		if !inUse {
			now += min(exponential(o.away()), idleTimeout*7/8)
			inUse = now < 0
			continue
		}
		switch {
		case now-issued >= refresh:
			issued, noted = now, now
		case now-noted >= touch:
			noted = now
		}
		now += exponential(o.pause)
		inUse = now >= 0 || mathrand.Float64() >= o.ends() //nolint:gosec // random, not secret
	}
	return past{-issued, -noted, inUse}
}

func exponential(mean time.Duration) time.Duration {
	return time.Duration(mathrand.ExpFloat64() * float64(mean)) //nolint:gosec // random, not secret
}

// fill begins the sessions that the site has at the start of the simulation, as the module
// begins them, and notes that they were used. Each has a past of its own before that start.
func (s *simulation) fill(start time.Time) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: s.Context()})
	defer cancel()
	addresses := make([]string, len(s.shards))
	for i, shard := range s.shards {
		addresses[i] = shard.Address()
	}
	store := &redisstore.Store{Address: addresses, Cluster: true, CacheSize: new(0)}
	s.check(store.Provision(ctx))
	defer func() { s.check(store.Cleanup()) }()

	var next atomic.Int64
	var errs [fillers]error
	var all sync.WaitGroup
	for i := range fillers {
		// one network, and one of these, may only have so much under way
		f := &filler{s, store, session.NewShared(s.provider.url), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)}
		all.Go(func() {
			for n := next.Add(1) - 1; n < int64(s.sessions) && errs[i] == nil; n = next.Add(1) - 1 {
				past := s.newPast()
				s.visitors.secrets[n], errs[i] = f.begin(start, past)
				s.visitors.busy[n] = past.inUse
			}
			errs[i] = errors.Join(errs[i], f.shared.Destruct())
		})
	}
	all.Wait()
	s.check(errors.Join(errs[:]...))
}

// filler begins one session after the other.
type filler struct {
	*simulation
	store   session.Store
	shared  *session.Shared
	network netip.Prefix
}

// begin begins a session with a past.
func (f *filler) begin(start time.Time, p past) (session.Secret, error) {
	begun, err := f.manager(start.Add(-p.issued)).Begin(f.Context(), session.Login{
		State: rand.Text(), RedirectURI: redirectURI, Scopes: strings.Fields(scopes),
		Started: start.Add(-p.issued), Expires: start.Add(30*time.Minute - p.issued),
	}, "code", f.network)
	if err != nil {
		return session.Secret{}, fmt.Errorf("beginning a session: %w", err)
	}
	if p.noted < p.issued {
		noted := start.Add(-p.noted)
		if found, err := f.manager(noted).Find(f.Context(), []session.Secret{begun.Secret}, noted); found == nil {
			return session.Secret{}, fmt.Errorf("finding a session that has begun: %w", err)
		}
		f.shared.Touches.Wait(f.Context())
	}
	return begun.Secret, nil
}

// manager is the module's at some time.
func (f *filler) manager(at time.Time) *session.Manager {
	now := func() time.Time { return at }
	return &session.Manager{
		Store:  pastStore{f.store, time.Since(at)},
		Client: &authserver.Client{Server: f.shared.Server, ID: clientID, Secret: authserver.NewSecret("secret"), Now: now},
		Shared: f.shared, Observer: nobody{}, Logger: zap.NewNop(), Now: now,
		Label:       f.provider.label(),
		Site:        strings.TrimPrefix(redirectURI, "http://"),
		IdleTimeout: idleTimeout, MaxLifetime: maxLifetime,
	}
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
