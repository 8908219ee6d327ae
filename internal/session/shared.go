package session

import (
	"context"
	"net/netip"
	"time"

	"github.com/patrickmn/go-cache"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// maxExchanges and maxRefreshes bound what is under way to one auth server.
	maxExchanges = 64
	maxRefreshes = 32
	// maxClientExchanges bounds the exchanges of one network, so that it can neither
	// take all of them nor use up what the auth server allows the client;
	// maxClientWaiting those of it that wait for their turn, too.
	maxNetworkExchanges = 8
	maxNetworkWaiting   = 512
	// maxTouches bounds the writes that say that a session is in use. More are
	// dropped; the session's next request tries again.
	maxTouches = 32
	// outcomeLifetime is how long it is remembered how an exchange ended, for a
	// browser that repeats the callback because the answer did not reach it, and
	// maxOutcomes how many of those that failed.
	outcomeLifetime = time.Minute
	maxOutcomes     = 100_000
	// setbackLifetime is longer than any back-off.
	backoffLifetime = 10 * time.Minute
	// sweepEvery is how often the memory of what has expired is freed.
	sweepEvery = 10 * time.Second
)

// Shared is an auth server with all that this process has under way to it, and what
// it remembers of that. All blocks of the process that use the auth server share
// one, also over a reload of the configuration.
type Shared struct {
	Server *authserver.Server

	// Exchanges, Refreshes and Touches are what is under way: codes, tokens, and
	// writes that say that a session is in use.
	Exchanges, Refreshes, Touches *flight.Group

	exchangeLimiter flight.Limiter[netip.Prefix] // of the exchanges
	refusals        budget
	uncertain       uncertainClaims
	outcomes        *cache.Cache // of exchanges, by claim id
	opened          *openedSessions
	backoffs        *cache.Cache // failed refreshes, by session id, and by client where it was asked to pause
	rejected        *cache.Cache // sessions whose token an upstream refused
	stop            chan struct{}
}

// NewShared returns what blocks share that use the auth server at base.
func NewShared(base string) *Shared {
	s := &Shared{
		Server:          authserver.NewServer(base),
		Exchanges:       flight.NewGroup(maxExchanges),
		Refreshes:       flight.NewGroup(maxRefreshes),
		Touches:         flight.NewGroup(maxTouches),
		exchangeLimiter: flight.Limiter[netip.Prefix]{MaxRunning: maxNetworkExchanges, MaxTotal: maxNetworkWaiting},
		opened:          newOpenedSessions(),
		outcomes:        cache.New(outcomeLifetime, 0),
		backoffs:        cache.New(backoffLifetime, 0),
		rejected:        cache.New(rejectedInterval, 0),
		stop:            make(chan struct{}),
	}
	go s.sweep()
	return s
}

// sweep frees what has expired.
func (s *Shared) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for _, c := range []*cache.Cache{s.outcomes, s.backoffs, s.rejected} {
				c.DeleteExpired()
			}
			s.opened.sweep()
		case <-s.stop:
			return
		}
	}
}

// Wait returns when nothing is under way, or when ctx ends.
func (s *Shared) Wait(ctx context.Context) {
	s.Exchanges.Wait(ctx)
	s.Refreshes.Wait(ctx)
	s.Touches.Wait(ctx)
}

// Destruct waits for what is under way: a code or a refresh token that was
// sent must not be lost because Caddy stops. It waits for as long as an
// exchange may take, and half a minute for a store that does not answer.
func (s *Shared) Destruct() error {
	close(s.stop)
	ctx, cancel := context.WithTimeout(context.Background(), exchangeTimeout+30*time.Second)
	defer cancel()
	s.Wait(ctx)
	s.Server.CloseIdleConnections()
	return nil
}
