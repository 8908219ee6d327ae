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
	// network. Waiting bounds those of a network together with the ones that wait.
	All, Network, Waiting int
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
	timeout time.Duration
	now     func() time.Time

	mu     sync.Mutex
	paused pause
}

// pause is a pause that the server asked for.
type pause struct {
	until time.Time
	// network is the one for which the server was asked. As long as all is false only
	// this one waits, so that one visitor who asks too often does not stop all others.
	network netip.Prefix
	// all says that the server asked for a pause for a second network.
	all bool
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
		f.budget.Spend(network, f.now())
		return work(ctx)
	}).Await(ctx)
	if errors.Is(err, ErrBusy) {
		return nil, &BusyError{cause: err}
	}
	return result, err
}

// awaitTurn waits until the network has a place for another piece of work. It looks
// before and after, since others of the network may have used up its share meanwhile.
func (f *Fair) awaitTurn(ctx context.Context, network netip.Prefix) (leave func(), err error) {
	if err := f.check(network); err != nil {
		return nil, err
	}
	if leave, err = f.limiter.Take(ctx, network); err != nil {
		return nil, &BusyError{cause: fmt.Errorf("for this network: %w", err)}
	}
	if err := f.check(network); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// check returns an error if no work may begin for a network.
func (f *Fair) check(network netip.Prefix) error {
	now := f.now()
	if wait := f.budget.Wait(network, now); wait > 0 {
		return &BusyError{wait, errNetworkSpent}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if left := f.paused.left(now); left > 0 && (f.paused.all || f.paused.network == network) {
		return &BusyError{left, errPaused}
	}
	return nil
}

func (p pause) left(now time.Time) time.Duration {
	if left := p.until.Sub(now); left <= maxPause {
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
	paused := pause{until: now.Add(min(d, maxPause)), network: network}
	if f.paused.left(now) > 0 {
		paused.all = f.paused.all || f.paused.network != network
		if f.paused.until.After(paused.until) {
			paused.until = f.paused.until
		}
	}
	f.paused = paused
}
