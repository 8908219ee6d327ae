package tokenstoretest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

func locks(t *testing.T, medium func(*testing.T) Medium, losing bool) {
	tests := map[string]func(t *testing.T, one, other truelayer.TokenStore){
		"held by one":       lockHeld,
		"one after another": lockTurns,
		"past caches":       lockPastCaches,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := medium(t)
			test(t, m.Open(t), m.Open(t))
		})
	}
	if losing {
		t.Run("lost and regained", func(t *testing.T) { lockLost(t, medium(t)) })
	}
}

func lock(t *testing.T, s truelayer.TokenStore, id string) (unlock func()) {
	t.Helper()
	unlock, err := s.(truelayer.Locker).Lock(t.Context(), id)
	if err != nil {
		t.Fatalf("lock: %v", err)
	}
	return unlock
}

// wantLocked checks that a lock is held by somebody else.
func wantLocked(t *testing.T, s truelayer.TokenStore, id string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan error, 1)
	go func() {
		unlock, err := s.(truelayer.Locker).Lock(ctx, id)
		if err == nil {
			unlock()
		}
		got <- err
	}()
	for range 3 { // gives Lock some time
		if _, err := s.Get(t.Context(), newID()); err == nil {
			t.Error("a record that is not there")
		}
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("lock that another process holds: got error %v, want %v", err, context.Canceled)
	}
}

func lockHeld(t *testing.T, one, other truelayer.TokenStore) {
	id := newID()
	unlock := lock(t, one, id)
	wantLocked(t, other, id)
	lock(t, other, newID())() // the lock of another id is free
	create(t, other, id, []byte("a"), ttl)
	wantRecord(t, one, id, []byte("a")) // and so is the record
	unlock()
	lock(t, other, id)()
	lock(t, one, id)()
}

// lockTurns checks that everybody gets the lock, and never two at once.
func lockTurns(t *testing.T, one, other truelayer.TokenStore) {
	id := newID()
	var inside, turns atomic.Int64
	var wg sync.WaitGroup
	for _, s := range []truelayer.TokenStore{one, other, one} {
		wg.Go(func() {
			unlock, err := s.(truelayer.Locker).Lock(t.Context(), id)
			if err != nil {
				t.Errorf("lock: %v", err)
				return
			}
			defer unlock()
			if inside.Add(1) > 1 {
				t.Error("two hold the lock")
			}
			if _, err := s.Get(t.Context(), newID()); err == nil { // takes some time
				t.Error("a record that is not there")
			}
			turns.Add(1)
			inside.Add(-1)
		})
	}
	wg.Wait()
	if turns.Load() != 3 {
		t.Errorf("%d of 3 had the lock", turns.Load())
	}
}

// lockPastCaches checks that the holder of a lock reads what the last holder
// wrote.
func lockPastCaches(t *testing.T, one, other truelayer.TokenStore) {
	id := newID()
	create(t, one, id, []byte("a"), ttl)
	wantRecord(t, other, id, []byte("a")) // which may be cached
	unlock := lock(t, one, id)
	if err := one.Replace(t.Context(), id, []byte("a"), []byte("b"), ttl); err != nil {
		t.Fatalf("replace: %v", err)
	}
	unlock()
	unlock = lock(t, other, id)
	defer unlock()
	wantRecord(t, other, id, []byte("b"))
}

// lockLost checks that a holder that was paused for too long does not release the
// lock of its successor.
func lockLost(t *testing.T, m Medium) {
	one, other, third := m.Open(t), m.Open(t), m.Open(t)
	id := newID()
	late := lock(t, one, id)
	m.LoseLock(t, id)
	unlock := lock(t, other, id)
	late()
	wantLocked(t, third, id)
	unlock()
	lock(t, third, id)()
	lock(t, one, id)()
}

// listing checks that List finds every record, page by page.
func listing(t *testing.T, s truelayer.TokenStore) {
	lister := s.(truelayer.Lister)
	ids := make([]string, 120)
	for i := range ids {
		ids[i] = newID()
		create(t, s, ids[i], []byte("a"), ttl)
	}
	gone := ids[0]
	if err := s.Delete(t.Context(), gone); err != nil {
		t.Fatalf("delete: %v", err)
	}
	var found []string
	for cursor, pages := "", 0; ; pages++ {
		page, next, err := lister.List(t.Context(), cursor, 10)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		found = append(found, page...)
		if cursor = next; cursor == "" {
			if pages < 2 {
				t.Errorf("%d records came in %d pages", len(found), pages+1)
			}
			break
		}
	}
	for _, id := range ids[1:] {
		if !slices.Contains(found, id) {
			t.Fatalf("the record %x was not listed", id)
		}
	}
	if slices.Contains(found, gone) {
		t.Error("a deleted record was listed")
	}
}
