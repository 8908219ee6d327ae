package session

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// watched watches a visitor's session and returns how often it was ended.
func (b *bench) watched(t *testing.T, secret Secret) *atomic.Int64 {
	t.Helper()
	ends := new(atomic.Int64)
	stop := b.Watch(b.open(t, secret), func() { ends.Add(1) })
	t.Cleanup(stop)
	return ends
}

// await waits until something has happened, for a few times watchInterval.
func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*watchInterval)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !happened() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestWatch: whoever watches a session learns of its end, by whatever it ends and wherever.
// The end is told again, in case it did not help, and not after the watch was stopped.
func TestWatch(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	node := b.anotherNode(t)
	endings := map[string]func(secret Secret) error{
		"a logout": func(secret Secret) error {
			_, err := b.Logout(t.Context(), []Secret{secret}, false)
			return err
		},
		"a logout at another node": func(secret Secret) error {
			_, err := node.Logout(t.Context(), []Secret{secret}, false)
			return err
		},
		"a revocation": func(secret Secret) error {
			_, _, err := b.Revoke(t.Context(), b.Label.SessionID(&secret), Filter{})
			return err
		},
		"a revocation at another node": func(secret Secret) error {
			_, _, err := node.Revoke(t.Context(), b.Label.SessionID(&secret), Filter{})
			return err
		},
		"another login": func(secret Secret) error {
			b.Discard(t.Context(), []Secret{secret}, b.signIn(t), false)
			return nil
		},
		"its consent": func(secret Secret) error {
			b.MarkOver(t.Context(), b.open(t, secret), false)
			return nil
		},
	}
	neighbour := b.watched(t, b.signIn(t))
	ends := make(map[string]*atomic.Int64)
	for what, end := range endings {
		visitor := b.signIn(t)
		ends[what] = b.watched(t, visitor)
		if err := end(visitor); err != nil {
			t.Fatal(what, err)
		}
	}
	for what, n := range ends {
		await(t, what, func() bool { return n.Load() > 1 })
	}
	if neighbour.Load() > 0 {
		t.Error("a neighbour's session was ended")
	}
	visitor := b.signIn(t)
	calls := 0
	stop := b.Watch(b.open(t, visitor), func() { calls++ }) // the race detector sees a call after stop
	if _, err := b.Logout(t.Context(), []Secret{visitor}, false); err != nil {
		t.Fatal(err)
	}
	stop()
	before := calls
	await(t, "another look", func() bool { return ends["a logout"].Load() > 3 })
	if calls != before {
		t.Error("the end was told after the watch was stopped")
	}
	stop() // again
	if n := len(b.Shared.watches.byID); n != len(endings)+1 {
		t.Errorf("%d sessions are watched", n)
	}
}

// TestWatchUses: a session that is watched is in use, and one whose store fails goes on.
func TestWatchUses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	visitor := b.signIn(t)
	inner := b.Store
	ends := b.watched(t, visitor)
	b.clock.advance(b.IdleTimeout / 30) // more than a use is noted after, and less than the consent
	before := b.open(t, visitor).lastSeen
	await(t, "the use", func() bool { return b.open(t, visitor).lastSeen.After(before) })
	failing := &failingStore{Store: inner}
	failing.broken.Store(true)
	other := *b.Manager
	other.Store = failing
	stop := other.Watch(b.open(t, visitor), func() { ends.Add(1) })
	defer stop()
	await(t, "reads of the store", func() bool { return failing.reads.Load() > 1 })
	failing.panics.Store(true) // a bug in somebody's store does not end the process
	reads := failing.reads.Load()
	await(t, "reads that panic", func() bool { return failing.reads.Load() > reads+1 })
	if ends.Load() > 0 {
		t.Error("a store that fails has ended a session")
	}
}

type failingStore struct {
	Store
	broken atomic.Bool
	panics atomic.Bool
	reads  atomic.Int64
}

func (s *failingStore) Get(ctx context.Context, id string) ([]byte, error) {
	s.reads.Add(1)
	if s.panics.Load() {
		panic("a store's bug")
	}
	if s.broken.Load() {
		return nil, errors.New("broken")
	}
	return s.Store.Get(ctx, id)
}
