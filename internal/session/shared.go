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
	// maxExchanges, maxRefreshes and maxDisconnects bound the concurrent requests to an
	// auth server.
	maxExchanges   = 64
	maxRefreshes   = 32
	maxDisconnects = 32
	// maxNetworkExchanges bounds the concurrent exchanges of one network, so that it can
	// neither occupy all of maxExchanges nor use up the auth server's rate limit for the
	// client. maxNetworkWaiting bounds them together with the ones that wait.
	maxNetworkExchanges = 8
	maxNetworkWaiting   = 512
	// maxRefusals is how many codes of one network the token endpoint may refuse in
	// a minute before no more of that network's codes are sent until the next minute.
	// An office where many people log in at the same time has hardly any refusals. But
	// anybody can make up codes, and each one costs a request with the client's secret.
	maxRefusals = 10
	// maxTouches bounds the concurrent writes which note that a session is in use. A
	// write beyond that is dropped, and the session's next request tries again.
	maxTouches = 32
	// outcomeLifetime is how long the outcome of an exchange is remembered, for a
	// browser that repeats the callback because it got no response. maxOutcomes bounds
	// how many refusals are remembered.
	outcomeLifetime = time.Minute
	maxOutcomes     = 100_000
	// backoffLifetime is longer than any back-off.
	backoffLifetime = 10 * time.Minute
	// exchangeTimeout bounds an exchange, including the wait for its turn.
	exchangeTimeout = 20 * time.Second
	// rejectedInterval is the shortest time between two refreshes of a session that
	// an upstream's 401 causes.
	rejectedInterval = time.Minute
	// sweepEvery is how often expired entries are removed from memory.
	sweepEvery = 10 * time.Second
)

// Shared holds an auth server, the requests that this process has in progress to it, and
// what the process remembers about earlier ones. All blocks that use the same auth server
// share one, even across a reload of the configuration.
type Shared struct {
	Server *authserver.Server

	// Exchanges and Refreshes run the requests for tokens, and Disconnects the requests
	// that end connections. Touches runs writes to the store that requests do not wait
	// for.
	Exchanges, Refreshes, Disconnects, Touches *flight.Group

	exchangeLimiter flight.Limiter[netip.Prefix] // of the exchanges
	tokenUses       flight.Limiter[string]       // of refresh tokens, by session id
	refusals        flight.Budget
	uncertain       uncertainClaims
	outcomes        *cache.Cache // of exchanges, by claim id
	opened          *openedSessions
	backoffs        *cache.Cache // failed refreshes, by session id, and by client where it was asked to pause
	rejected        *cache.Cache // sessions whose token an upstream refused
	ended           *cache.Cache // ends of sessions that the observer was told of
	watches         watches
	stop            chan struct{}
}

// NewShared returns the Shared for the auth server with the URL base.
func NewShared(base string) *Shared {
	s := &Shared{
		Server:          authserver.NewServer(base),
		Exchanges:       flight.NewGroup(maxExchanges),
		Refreshes:       flight.NewGroup(maxRefreshes),
		Disconnects:     flight.NewGroup(maxDisconnects),
		Touches:         flight.NewGroup(maxTouches),
		exchangeLimiter: flight.Limiter[netip.Prefix]{MaxRunning: maxNetworkExchanges, MaxTotal: maxNetworkWaiting},
		tokenUses:       flight.Limiter[string]{MaxRunning: 1},
		refusals:        flight.Budget{Most: maxRefusals},
		opened:          newOpenedSessions(),
		outcomes:        cache.New(outcomeLifetime, 0),
		backoffs:        cache.New(backoffLifetime, 0),
		rejected:        cache.New(rejectedInterval, 0),
		ended:           cache.New(outcomeLifetime, 0),
		stop:            make(chan struct{}),
	}
	go s.sweep()
	return s
}

// sweep removes expired entries until Destruct is called.
func (s *Shared) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for _, c := range []*cache.Cache{s.outcomes, s.backoffs, s.rejected, s.ended} {
				c.DeleteExpired()
			}
			s.opened.sweep()
		case <-s.stop:
			return
		}
	}
}

// Wait waits until no requests or writes are in progress, or until ctx ends.
func (s *Shared) Wait(ctx context.Context) {
	s.Exchanges.Wait(ctx)
	s.Refreshes.Wait(ctx)
	s.Disconnects.Wait(ctx)
	s.Touches.Wait(ctx)
}

// Destruct waits for the requests in progress, because the tokens for a code or a refresh
// token that has been sent must not be lost when Caddy stops. It waits for as long as an
// exchange may take, and half a minute more for a store that is slow.
func (s *Shared) Destruct() error {
	close(s.stop)
	ctx, cancel := context.WithTimeout(context.Background(), exchangeTimeout+30*time.Second)
	defer cancel()
	s.Wait(ctx)
	s.Server.CloseIdleConnections()
	return nil
}
