package session

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"
)

// begun is a session that has begun, and whether a browser was given it, which may
// have signed out since.
type exchangeResult struct {
	Begun
	delivered atomic.Bool
}

// outcome is how an exchange ended: with a session, or with a refusal.
type outcome struct {
	result *exchangeResult
	err    error
}

// outcomeOf returns how the exchange under a claim's id ended a moment ago.
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

// exchangeOnce runs an exchange under the claim's id, or returns how it ended a
// moment ago.
func (s *Shared) exchangeOnce(ctx context.Context, claim string, client netip.Prefix, now func() time.Time, exchange func(context.Context) (*exchangeResult, error)) (*exchangeResult, error) {
	if o, ok := s.outcomeOf(claim); ok {
		return o.result, o.err
	}
	turn := func(ctx context.Context) (func(), error) { return s.awaitTurn(ctx, client, now) }
	result, err := s.Exchanges.BeginInTurn(claim, exchangeTimeout, turn, func(ctx context.Context) (any, error) {
		if o, ok := s.outcomeOf(claim); ok {
			return o.result, o.err
		}
		result, err := exchange(ctx)
		if err == nil {
			s.rememberOutcome(claim, outcome{result: result})
		}
		return result, err
	}).Await(ctx)
	if err != nil {
		return nil, err
	}
	return result.(*exchangeResult), nil
}

// awaitTurn waits for one of the network's places, which leave gives back. Those
// that waited while others of their network were refused are too many, too.
func (s *Shared) awaitTurn(ctx context.Context, client netip.Prefix, now func() time.Time) (leave func(), err error) {
	if err := s.checkNetwork(client, now()); err != nil {
		return nil, err
	}
	if leave, err = s.exchangeLimiter.Take(ctx, client); err != nil {
		return nil, &Error{Kind: TooManyLogins, Cause: err}
	}
	if err := s.checkNetwork(client, now()); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// networkOver returns an error if a network has used up what it may.
func (s *Shared) checkNetwork(client netip.Prefix, now time.Time) error {
	if over := max(s.refusals.wait(client, now), s.uncertain.wait(client, now)); over > 0 {
		return &Error{Kind: TooManyLogins, Cause: errNetworkLimit, RetryAfter: min(over, time.Minute)}
	}
	return nil
}

var errNetworkLimit = errors.New("the token endpoint has refused too many codes of this network lately, or left too many without an answer")
