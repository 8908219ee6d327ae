package truelayer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// leaseTTL is how long a lease lasts after its holder renewed it.
	leaseTTL = 5 * time.Second
	// leaseRecordTTL is how long the sweep keeps the record of a lease whose
	// holder died.
	leaseRecordTTL = time.Hour
	// maxLeasePoll is the longest wait between two attempts to take a lease.
	maxLeasePoll = 250 * time.Millisecond

	// leaseSuffix ends the storage key of a lease.
	leaseSuffix = ".lease"
)

// storageLease is a lock that may be held for long. It is a record with the
// holder's token and a number, which the holder increments to renew the lease.
// A storageLock is for writes, which are short: it does not show whether its
// holder is still alive.
type storageLease struct {
	records *storageRecords
	key     string
	token   string
	done    chan struct{}
}

// lease waits for the lease of a key, and takes it. The lease is free if it has
// no record, or if the record has not changed for leaseTTL. This process's own
// clock measures that, so the clocks of others do not matter.
func (r *storageRecords) lease(ctx context.Context, key string) (release func(), err error) {
	l := &storageLease{records: r, key: key + leaseSuffix, token: rand.Text(), done: make(chan struct{})}
	var seen []byte
	var unchangedSince time.Time
	for poll := 10 * time.Millisecond; ; poll = min(2*poll, maxLeasePoll) {
		found, _, err := r.load(ctx, l.key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = r.exclusively(ctx, l.key, func(ctx context.Context, w *storageWrite) error {
				return w.create(ctx, l.record(0), leaseRecordTTL)
			})
		case err != nil:
		case !bytes.Equal(found, seen):
			seen, unchangedSince, err = found, time.Now(), fs.ErrExist
		case time.Since(unchangedSince) < leaseTTL:
			err = fs.ErrExist
		default:
			err = r.exclusively(ctx, l.key, func(ctx context.Context, w *storageWrite) error {
				return w.replace(ctx, seen, l.record(0), leaseRecordTTL)
			})
		}
		switch {
		case err == nil:
			go l.renew(context.WithoutCancel(ctx))
			return func() { l.release(context.WithoutCancel(ctx)) }, nil
		case !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrConflict):
			return nil, err
		case !flight.Sleep(ctx, poll):
			return nil, ctx.Err()
		}
	}
}

func (l *storageLease) record(n int) []byte {
	return []byte(l.token + " " + strconv.Itoa(n))
}

// renew renews the lease until it is released or lost.
func (l *storageLease) renew(ctx context.Context) {
	ticker := time.NewTicker(leaseTTL / 4)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		err := l.update(ctx, func(ctx context.Context, w *storageWrite) error {
			return w.store(ctx, l.record(n), leaseRecordTTL)
		})
		if errors.Is(err, errLeaseLost) {
			return
		} // after any other error the next renewal may succeed
	}
}

// release releases the lease. If that fails, the lease expires.
func (l *storageLease) release(ctx context.Context) {
	close(l.done)
	err := l.update(ctx, func(ctx context.Context, w *storageWrite) error { return w.remove(ctx) })
	if err != nil && !errors.Is(err, errLeaseLost) {
		l.records.logger.Warn("releasing a lease in the storage failed; it expires", zap.Error(err))
	}
}

var errLeaseLost = errors.New("another process has taken the lease")

// update writes or removes the record of the lease. The error is errLeaseLost if
// another process has taken the lease, which may happen while the holder is
// paused.
func (l *storageLease) update(ctx context.Context, write func(context.Context, *storageWrite) error) error {
	return l.records.exclusively(ctx, l.key, func(ctx context.Context, w *storageWrite) error {
		found, _, err := l.records.load(ctx, l.key)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.HasPrefix(found, []byte(l.token)) {
			return errLeaseLost
		}
		if err != nil {
			return err
		}
		return write(ctx, w)
	})
}
