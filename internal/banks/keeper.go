package banks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

const (
	// freshFor is how long a list is used before it is renewed.
	freshFor = 10 * time.Minute
	// usableFor is how long a list is used that cannot be renewed.
	usableFor = 24 * time.Hour
	// pause is the least time between the beginnings of two attempts, of which the first
	// failed.
	pause = 30 * time.Second
	// attemptTimeout bounds an attempt.
	attemptTimeout = 15 * time.Second
	// callerTimeout is how long a caller waits for a list.
	callerTimeout = 3 * time.Second
)

// ErrNoList is the error of List if there is no list. What it wraps says why.
var ErrNoList = errors.New("the list of banks cannot be had")

// errNoBanks is why a list without banks counts as none: TrueLayer sends one for a
// client that it does not know, and an earlier list is of more use.
var errNoBanks = errors.New("TrueLayer lists no bank for this client")

// Keeper keeps the list of a client's banks. Callers share it, and share the calls that
// renew it.
type Keeper struct {
	fetch        func(context.Context) ([]tlapi.Provider, error)
	destinations *destinations
	logger       atomic.Pointer[zap.Logger]
	now          func() time.Time
	flights      *flight.Group

	mu      sync.Mutex
	list    known
	fetched time.Time // when list was, the zero Time if there is none
	began   time.Time // when the attempt that is under way was asked for, or the zero Time
	tried   time.Time // when the last attempt began, if it failed
	failure error     // of the last attempt
}

// NewKeeper returns a Keeper of the banks that the server lists for a client. It makes
// no call.
func NewKeeper(server *authserver.Server, clientID string, logger *zap.Logger, now func() time.Time) *Keeper {
	k := &Keeper{
		fetch: func(ctx context.Context) ([]tlapi.Provider, error) {
			list, err := tlapi.ListProviders(ctx, server, clientID)
			return list.Providers, err
		},
		destinations: newDestinations(server.Base()),
		now:          now, flights: flight.NewGroup(1),
	}
	k.LogTo(logger)
	return k
}

// LogTo makes the Keeper log to a logger from now on. A Keeper outlives the configuration
// that its first logger belongs to.
func (k *Keeper) LogTo(logger *zap.Logger) { k.logger.Store(logger) }

// List returns the banks by name. The slice belongs to the Keeper and must not be
// changed. A list that is less than a day old is returned at once, and renewed in the
// background if it is older than ten minutes. Otherwise List waits for one, until three
// seconds after the first caller has asked for it. Its error is ErrNoList.
func (k *Keeper) List(ctx context.Context) ([]Bank, error) {
	list, err := k.current(ctx)
	return list.banks, err
}

// current returns the list as it is kept.
func (k *Keeper) current(ctx context.Context) (known, error) {
	list, renewal, left, err := k.look(ctx)
	if renewal == nil || err != nil {
		return list, err
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	value, err := renewal.Await(ctx)
	if err != nil {
		return known{}, fmt.Errorf("%w: %w", ErrNoList, err)
	}
	return value.(known), nil
}

// look returns the list, or an attempt to wait for and for how long, or why there is
// neither.
func (k *Keeper) look(ctx context.Context) (list known, renewal *flight.Flight, left time.Duration, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.fetched.After(now) { // the clock was set back
		k.fetched = now.Add(-freshFor)
	}
	if k.tried.After(now) {
		k.tried = time.Time{}
	}
	age := now.Sub(k.fetched)
	if !k.fetched.IsZero() && age < freshFor {
		return k.list, nil, 0, nil
	}
	usable := !k.fetched.IsZero() && age < usableFor
	if now.Sub(k.tried) < pause {
		if !usable {
			return known{}, nil, 0, fmt.Errorf("%w: %w", ErrNoList, k.failure)
		}
		return k.list, nil, 0, nil
	}
	// begun under the lock, so that nobody who saw the old list renews the new one
	if k.began.IsZero() {
		k.began = now
	}
	renewal = k.flights.Begin(ctx, "", attemptTimeout, k.renew)
	if usable {
		return k.list, nil, 0, nil
	}
	k.list = known{} // too old to be kept
	if left = callerTimeout - now.Sub(k.began); left <= 0 {
		return known{}, nil, 0, fmt.Errorf("%w: %w", ErrNoList, context.DeadlineExceeded)
	}
	return known{}, renewal, left, nil
}

// renew fetches the list and keeps it.
func (k *Keeper) renew(ctx context.Context) (any, error) {
	began := k.now()
	providers, err := k.fetch(ctx)
	list := read(providers, k.destinations.permits)
	if err == nil && len(list.banks) == 0 {
		err = errNoBanks
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.began = time.Time{}
	if err != nil {
		k.logFailure(err)
		k.tried, k.failure = began, err
		return nil, err
	}
	if k.failure != nil {
		k.logger.Load().Info("the list of banks can be fetched again", zap.Int("banks", len(list.banks)))
	}
	k.list, k.fetched, k.tried, k.failure = list, began, time.Time{}, nil
	return list, nil
}

// logFailure logs the first of several failures that follow each other as a warning. The
// caller holds k.mu.
func (k *Keeper) logFailure(err error) {
	level := zap.WarnLevel
	if k.failure != nil {
		level = zap.DebugLevel
	}
	fields := []zap.Field{zap.Error(err)}
	if !k.fetched.IsZero() {
		fields = append(fields, zap.Time("in_use_since", k.fetched))
	}
	k.logger.Load().Log(level, "the list of banks cannot be fetched", fields...)
}

// Wait waits until no attempt is under way, or until ctx ends.
func (k *Keeper) Wait(ctx context.Context) { k.flights.Wait(ctx) }
