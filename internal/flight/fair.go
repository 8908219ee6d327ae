package flight

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Bounds are the bounds of work that a server does for us, and that anybody can cause.
type Bounds struct {
	// All is how many pieces of work run at once, and Network how many of them for one
	// network.
	All, Network int
	// Waiting bounds those of a network together with the ones that wait, and Queue those
	// of all networks.
	Waiting, Queue int
	// EachMinute is how many pieces of work begin in a minute for one network.
	EachMinute int
	// Timeout bounds a piece of work, including the wait for its turn.
	Timeout time.Duration
}

// Fair is a Group whose work is shared fairly by networks, and which pauses when the
// server asks for it.
type Fair struct {
	group   *Group
	limiter Limiter[netip.Prefix]
	budget  Budget
	queue   int
	timeout time.Duration
	now     func() time.Time

	// The pauses that the server asked for. Only the first network for which it did so
	// waits, so that one visitor who asks too often does not stop all others. From a
	// second network on all wait.
	mu          sync.Mutex
	first       netip.Prefix
	firstPaused time.Time // until then
	allPaused   time.Time
}

// maxPause is the longest pause. One that is longer was noted before the clock was set
// back.
const maxPause = 10 * time.Minute

// NewFair returns a Fair with bounds.
func NewFair(b Bounds, now func() time.Time) *Fair {
	return &Fair{
		group:   NewGroup(int64(b.All)),
		limiter: Limiter[netip.Prefix]{MaxRunning: b.Network, MaxTotal: b.Waiting},
		budget:  Budget{Most: b.EachMinute},
		queue:   b.Queue,
		timeout: b.Timeout,
		now:     now,
	}
}

// BusyError is the error of work that was not begun.
type BusyError struct {
	// RetryAfter is when to try again, 0 if nobody knows.
	RetryAfter time.Duration
	cause      error
}

// Error implements error.
func (e *BusyError) Error() string { return "not begun: " + e.cause.Error() }

// Unwrap returns the cause.
func (e *BusyError) Unwrap() error { return e.cause }

var (
	errNetworkSpent = errors.New("this network has asked too often in this minute")
	errPaused       = errors.New("the server asked for fewer requests")
)

// Do does work in the background and returns its result, or that of the work with the
// same key that is running already. The work's context has the values of ctx, and does
// not end with it. The error is a *BusyError if the work was not begun.
func (f *Fair) Do(ctx context.Context, key string, network netip.Prefix, work func(context.Context) (any, error)) (any, error) {
	turn := func(ctx context.Context) (func(), error) { return f.awaitTurn(ctx, network) }
	result, err := f.group.BeginInTurn(ctx, key, f.timeout, turn, func(ctx context.Context) (any, error) {
		// once more: others have begun while this one waited for a slot
		if left := f.pauseLeft(network); left > 0 {
			return nil, &BusyError{left, errPaused}
		}
		if wait := f.budget.Take(network, f.now()); wait > 0 {
			return nil, &BusyError{wait, errNetworkSpent}
		}
		return work(ctx)
	}).Await(ctx)
	if errors.Is(err, ErrBusy) {
		return nil, &BusyError{cause: err}
	}
	return result, err
}

// awaitTurn waits until the network has a place for another piece of work.
func (f *Fair) awaitTurn(ctx context.Context, network netip.Prefix) (leave func(), err error) {
	switch wait, left := f.budget.Wait(network, f.now()), f.pauseLeft(network); {
	case wait > 0:
		return nil, &BusyError{wait, errNetworkSpent}
	case left > 0:
		return nil, &BusyError{left, errPaused}
	case f.group.Len() > f.queue:
		return nil, &BusyError{cause: ErrBusy}
	}
	if leave, err = f.limiter.Take(ctx, network); err != nil {
		return nil, &BusyError{cause: fmt.Errorf("for this network: %w", err)}
	}
	return leave, nil
}

// pauseLeft returns how long a network has to wait because the server asked for it.
func (f *Fair) pauseLeft(network netip.Prefix) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := timeLeft(f.allPaused, f.now())
	if network == f.first {
		left = max(left, timeLeft(f.firstPaused, f.now()))
	}
	return left
}

// timeLeft returns how long a pause lasts, 0 if it is over or was noted before the clock
// was set back.
func timeLeft(until, now time.Time) time.Duration {
	if left := until.Sub(now); left <= maxPause {
		return max(left, 0)
	}
	return 0
}

// Pause notes that the server, asked for a network, wants fewer requests: no work begins
// for the network for d. If another network is paused already, none begins for any.
func (f *Fair) Pause(network netip.Prefix, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	until := now.Add(min(d, maxPause))
	switch left := timeLeft(f.firstPaused, now); {
	case left > 0 && network != f.first:
		if timeLeft(f.allPaused, now) < d {
			f.allPaused = until
		}
	case left < d || network != f.first:
		f.first, f.firstPaused = network, until
	}
}
