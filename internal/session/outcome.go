package session

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"
)

// Begun describes a session that has just begun.
type Begun struct {
	Secret Secret    // for the cookie
	Ends   time.Time // when the session ends if it is not used again
	// Connection and Provider are those of the session.
	Connection, Provider string
	// Repeated says that another call has returned the session before.
	Repeated bool
}

// exchangeResult is the session that an exchange has begun.
type exchangeResult struct {
	Begun
	// delivered says that a caller of Begin has got the session. Its visitor may have
	// signed out since.
	delivered atomic.Bool
}

// outcome is how an exchange ended: with a session or with a refusal.
type outcome struct {
	result *exchangeResult
	err    error
}

// outcomeOf returns how the exchange with a claim's id ended, if that is remembered.
func (s *Shared) outcomeOf(claim string) (outcome, bool) {
	o, ok := s.outcomes.Get(claim)
	if !ok {
		return outcome{}, false
	}
	return o.(outcome), true
}

func (s *Shared) rememberOutcome(claim string, o outcome) {
	if o.err == nil || s.outcomes.ItemCount() < maxOutcomes {
		s.outcomes.SetDefault(claim, o)
	}
}

// exchangeOnce runs the exchange with a claim's id. If it is running already, it waits
// for its result; if it ended within the last minute, it returns that result.
func (m *Manager) exchangeOnce(ctx context.Context, claim string, network netip.Prefix, exchange func(context.Context) (*exchangeResult, error)) (*exchangeResult, error) {
	if o, ok := m.Shared.outcomeOf(claim); ok {
		return o.result, o.err
	}
	turn := func(ctx context.Context) (func(), error) { return m.Shared.awaitTurn(ctx, network, m.Now) }
	result, err := m.await(ctx, Exchange, m.Shared.Exchanges.BeginInTurn(ctx, claim, exchangeTimeout, turn, func(ctx context.Context) (any, error) {
		if o, ok := m.Shared.outcomeOf(claim); ok {
			return o.result, o.err
		}
		result, err := exchange(ctx)
		if err == nil {
			m.Shared.rememberOutcome(claim, outcome{result: result})
		}
		return result, err
	}))
	if err != nil {
		return nil, err
	}
	return result.(*exchangeResult), nil
}

// awaitTurn waits until the network has a place for another exchange; leave gives the
// place back. It checks the network's budget before and after the wait, since other
// exchanges of the network may have spent it meanwhile.
func (s *Shared) awaitTurn(ctx context.Context, network netip.Prefix, now func() time.Time) (leave func(), err error) {
	if err := s.checkNetwork(network, now()); err != nil {
		return nil, err
	}
	if leave, err = s.exchangeLimiter.Take(ctx, network); err != nil {
		return nil, &Error{Kind: TooManyLogins, Cause: err}
	}
	if err := s.checkNetwork(network, now()); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// checkNetwork returns an error if a network has to wait before it may send more codes.
func (s *Shared) checkNetwork(network netip.Prefix, now time.Time) error {
	if wait := max(s.refusals.Wait(network, now), s.uncertain.wait(network, now)); wait > 0 {
		return &Error{Kind: TooManyLogins, Cause: errNetworkLimit, RetryAfter: min(wait, time.Minute)}
	}
	return nil
}

var errNetworkLimit = errors.New("the token endpoint has recently refused too many codes of this network, or left too many without an answer")
