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
	// leaseLasts is how long nothing may have been heard of a lease's holder
	// before another one takes it.
	leaseLasts = 5 * time.Second
	// leaseForgotten is when the sweep may delete a lease that nobody took after
	// its holder died.
	leaseForgotten = time.Hour
	// maxLeasePoll is the longest wait between two looks at another's lease.
	maxLeasePoll = 250 * time.Millisecond

	// leaseSuffix is what the key of a lease ends in.
	leaseSuffix = ".lease"
)

// storageLease is a lock that may be held for long: a record with its holder's
// token and a number, which the holder counts up for as long as it lives. A
// storage's own locks are for writes, which are over in a moment: nothing tells
// whether the holder of one is still there.
type storageLease struct {
	records *storageRecords
	key     string
	token   string
	done    chan struct{}
}

// lease waits for the lease of what is under key. It is taken if there is none,
// or if it has not changed for a while by this process's own clock, so that
// those of the others do not matter.
func (r *storageRecords) lease(ctx context.Context, key string) (release func(), err error) {
	l := &storageLease{records: r, key: key + leaseSuffix, token: rand.Text(), done: make(chan struct{})}
	var seen []byte
	var since time.Time
	for poll := 10 * time.Millisecond; ; poll = min(2*poll, maxLeasePoll) {
		found, _, err := r.load(ctx, l.key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = r.exclusively(ctx, l.key, func(ctx context.Context, w *storageWrite) error {
				return w.create(ctx, l.record(0), leaseForgotten)
			})
		case err != nil:
		case !bytes.Equal(found, seen):
			seen, since, err = found, time.Now(), fs.ErrExist
		case time.Since(since) < leaseLasts:
			err = fs.ErrExist
		default:
			err = r.exclusively(ctx, l.key, func(ctx context.Context, w *storageWrite) error {
				return w.replace(ctx, seen, l.record(0), leaseForgotten)
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

// renew keeps the lease until it is released or another's.
func (l *storageLease) renew(ctx context.Context) {
	ticker := time.NewTicker(leaseLasts / 4)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		err := l.change(ctx, func(ctx context.Context, w *storageWrite) error {
			return w.store(ctx, l.record(n), leaseForgotten)
		})
		if errors.Is(err, errNotOurs) {
			return
		} // after any other error it may still be ours at the next try
	}
}

// release gives the lease back. If that fails it ends by itself.
func (l *storageLease) release(ctx context.Context) {
	close(l.done)
	err := l.change(ctx, func(ctx context.Context, w *storageWrite) error { return w.remove(ctx) })
	if err != nil && !errors.Is(err, errNotOurs) {
		l.records.logger.Warn("giving a lock back in the storage failed; it ends by itself", zap.Error(err))
	}
}

var errNotOurs = errors.New("the lease is another's")

// change changes the lease unless it is another's: a holder that stood still
// may find that it was taken.
func (l *storageLease) change(ctx context.Context, write func(context.Context, *storageWrite) error) error {
	return l.records.exclusively(ctx, l.key, func(ctx context.Context, w *storageWrite) error {
		found, _, err := l.records.load(ctx, l.key)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.HasPrefix(found, []byte(l.token)) {
			return errNotOurs
		}
		if err != nil {
			return err
		}
		return write(ctx, w)
	})
}
