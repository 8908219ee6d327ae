package truelayer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/patrickmn/go-cache"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// exchangeTimeout bounds an exchange, the wait for its turn included.
	exchangeTimeout = 20 * time.Second
	// maxExchanges and maxRefreshes bound what is under way to one auth server.
	maxExchanges = 64
	// maxClientExchanges bounds those of one network, so that it cannot take
	// all of them; maxClientWaiting those of it that wait for their turn, too.
	maxClientExchanges = 32
	maxClientWaiting   = 512
	maxRefreshes       = 32
	// maxTouches bounds the writes that say that a session is in use. More are
	// dropped; the session's next request tries again.
	maxTouches = 32
	// outcomeLifetime is how long it is remembered how an exchange ended, for a
	// browser that repeats the callback because the answer did not reach it.
	outcomeLifetime = time.Minute
	// sweepEvery is how often that, and the rest of what is remembered, is looked at
	// for what has expired.
	sweepEvery = 10 * time.Second
	// maxOutcomes bounds how many of them are remembered.
	maxOutcomes = 100_000
)

// authServers holds one authServer for each address, shared by the handlers
// of the process and kept over reloads of the configuration.
var authServers = caddy.NewUsagePool()

// authServer is an auth server with what this process has under way to it, and
// what it has to remember for a while to leave it in peace.
type authServer struct {
	*authserver.Server
	exchanges *flight.Group
	refreshes *flight.Group
	touches   *flight.Group
	clients   flight.Limiter[netip.Prefix] // of the exchanges
	refusals  budget
	uncertain uncertainClaims
	outcomes  *cache.Cache // of exchanges, by claim id
	opened    *openedSessions
	setbacks  *cache.Cache // failed refreshes, by session id, and by client where it was asked to pause
	rejected  *cache.Cache // sessions whose token an upstream refused
	stop      chan struct{}
}

func newAuthServer(base string) *authServer {
	a := &authServer{
		Server:    authserver.NewServer(base),
		exchanges: flight.NewGroup(maxExchanges),
		refreshes: flight.NewGroup(maxRefreshes),
		touches:   flight.NewGroup(maxTouches),
		clients:   flight.Limiter[netip.Prefix]{AtOnce: maxClientExchanges, AtMost: maxClientWaiting},
		opened:    newOpenedSessions(),
		outcomes:  cache.New(outcomeLifetime, 0),
		setbacks:  cache.New(10*time.Minute, 0),
		rejected:  cache.New(rejectedInterval, 0),
		stop:      make(chan struct{}),
	}
	go a.sweep()
	return a
}

func loadAuthServer(base string) (*authServer, error) {
	value, _, err := authServers.LoadOrNew(base, func() (caddy.Destructor, error) { return newAuthServer(base), nil })
	if err != nil {
		return nil, err
	}
	return value.(*authServer), nil
}

func unloadAuthServer(base string) error {
	_, err := authServers.Delete(base)
	return err
}

// sweep drops what is no longer worth remembering.
func (a *authServer) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for _, c := range []*cache.Cache{a.outcomes, a.setbacks, a.rejected} {
				c.DeleteExpired()
			}
			a.opened.sweep()
		case <-a.stop:
			return
		}
	}
}

// Destruct waits for the flights under way: a code or a refresh token that was
// sent must not be lost because Caddy stops. It waits for as long as an
// exchange may take, and half a minute for a store that does not answer.
func (a *authServer) Destruct() error {
	close(a.stop)
	ctx, cancel := context.WithTimeout(context.Background(), exchangeTimeout+30*time.Second)
	defer cancel()
	a.exchanges.Wait(ctx)
	a.refreshes.Wait(ctx)
	a.touches.Wait(ctx)
	a.CloseIdleConnections()
	return nil
}

// outcome is how an exchange ended: with a session, or with a refusal.
type outcome struct {
	result *loginResult
	err    error
}

// outcomeOf returns how the exchange under a claim's id ended a moment ago.
func (a *authServer) outcomeOf(claim string) (outcome, bool) {
	o, ok := a.outcomes.Get(claim)
	if !ok {
		return outcome{}, false
	}
	return o.(outcome), true
}

func (a *authServer) remember(claim string, o outcome) {
	if o.err == nil || a.outcomes.ItemCount() < maxOutcomes {
		a.outcomes.SetDefault(claim, o)
	}
}

// networkOver returns a failure if a network has used up what it may.
func (a *authServer) networkOver(client netip.Prefix, now time.Time) error {
	if over := max(a.refusals.over(client, now), a.uncertain.over(client, now)); over > 0 {
		return failure{reason: tooManyLogins, cause: errNetworkOver, retryAfter: min(over, time.Minute)}
	}
	return nil
}

var errNetworkOver = errors.New("the token endpoint has refused too many codes of this network lately, or left too many without an answer")

// exchangeOnce runs an exchange under the claim's id, or returns how it ended a
// moment ago.
func (a *authServer) exchangeOnce(ctx context.Context, claim string, client netip.Prefix, now func() time.Time, exchange func(context.Context) (*loginResult, error)) (*loginResult, error) {
	if o, ok := a.outcomeOf(claim); ok {
		return o.result, o.err
	}
	// those that waited while others of their network were refused are too many, too
	turn := func(ctx context.Context) (func(), error) {
		if err := a.networkOver(client, now()); err != nil {
			return nil, err
		}
		leave, err := a.clients.Take(ctx, client)
		if err != nil {
			return nil, failure{reason: tooManyLogins, cause: err}
		}
		if err := a.networkOver(client, now()); err != nil {
			leave()
			return nil, err
		}
		return leave, nil
	}
	result, err := a.exchanges.BeginInTurn(claim, exchangeTimeout, turn, func(ctx context.Context) (any, error) {
		if o, ok := a.outcomeOf(claim); ok {
			return o.result, o.err
		}
		landing, err := exchange(ctx)
		if err == nil {
			a.remember(claim, outcome{result: landing})
		}
		return landing, err
	}).Await(ctx)
	if err != nil {
		return nil, err
	}
	return result.(*loginResult), nil
}

// setback is a session's failed refresh.
type setback struct {
	attempts int
	since    time.Time // of the first of them
	until    time.Time
}

// longestSetback is more than any wait: a time that is later still was noted
// before the clock was set back.
const longestSetback = authserver.MaxRetryAfter + time.Second

// pauseKey is the key of a client's setback: the auth server asked for a pause,
// which holds for all sessions of that client and for no other client's.
func pauseKey(client string) string { return "client " + client }

// loginPauseKey is the same for a client's exchanges, which a server that is away
// for refreshes may go on answering.
func loginPauseKey(client string) string { return "logins of client " + client }

// setBack notes a failed refresh and returns when the next may be tried. The
// delay doubles up to a minute and is spread, so that sessions which failed
// together do not come back together.
func (a *authServer) setBack(id, client string, now time.Time, retryAfter time.Duration) setback {
	var s setback
	if found, ok := a.setbacks.Get(id); ok {
		s = found.(setback)
	}
	if s.attempts++; s.attempts == 1 {
		s.since = now
	}
	delay := min(time.Second<<min(s.attempts-1, 6), time.Minute)
	delay = max(delay/2+rand.N(delay/2), retryAfter) //nolint:gosec // spread, not secret
	s.until = now.Add(delay)
	a.setbacks.SetDefault(id, s)
	if retryAfter > 0 {
		a.pause(pauseKey(client), now, retryAfter)
	}
	return s
}

// setbackOf returns a session's failed refreshes; the zero setback if the last one
// did not fail.
func (a *authServer) setbackOf(id string) setback {
	found, _ := a.setbacks.Get(id)
	s, _ := found.(setback)
	return s
}

// pause notes that nothing is to be sent for a while under a key, unless that is
// known for longer.
func (a *authServer) pause(key string, now time.Time, d time.Duration) {
	if a.paused(key, now) < d {
		a.setbacks.SetDefault(key, setback{until: now.Add(d)})
	}
}

// paused is how long that lasts, 0 if it is over.
func (a *authServer) paused(key string, now time.Time) time.Duration {
	found, ok := a.setbacks.Get(key)
	if !ok {
		return 0
	}
	if left := found.(setback).until.Sub(now); left <= longestSetback {
		return max(0, left)
	}
	return 0
}

// heldBack is how long a session's refresh has to wait, 0 if it need not.
func (a *authServer) heldBack(id, client string, now time.Time) time.Duration {
	return max(a.paused(id, now), a.paused(pauseKey(client), now))
}
