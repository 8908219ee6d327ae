package tokenstoretest

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// together calls f from many goroutines at once and returns the number of calls
// without an error. The other calls must return the allowed error.
func together(t *testing.T, allowed error, f func(i int) error) int64 {
	t.Helper()
	const writers = 32
	var won atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range writers {
		wg.Go(func() {
			<-begin
			switch err := f(i); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, allowed):
				t.Errorf("writer %d: got error %v, want %v", i, err, allowed)
			}
		})
	}
	close(begin)
	wg.Wait()
	return won.Load()
}

func oneWinner(t *testing.T, one, other truelayer.TokenStore) {
	stores := []truelayer.TokenStore{one, other}
	id := newID()
	record := []byte("start")
	create(t, one, id, record, ttl)
	for round := range 5 {
		won := together(t, truelayer.ErrConflict, func(i int) error {
			return stores[i%2].Replace(t.Context(), id, record, fmt.Appendf(nil, "%d/%d", round, i), ttl)
		})
		if won != 1 {
			t.Fatalf("round %d: %d writers won", round, won)
		}
		var err error
		if record, err = one.Get(t.Context(), id); err != nil {
			t.Fatalf("get: %v", err)
		}
		wantRecord(t, other, id, record)
	}
}

func oneCreator(t *testing.T, one, other truelayer.TokenStore) {
	stores := []truelayer.TokenStore{one, other}
	id := newID()
	won := together(t, fs.ErrExist, func(i int) error {
		return stores[i%2].Create(t.Context(), id, fmt.Appendf(nil, "%d", i), ttl)
	})
	if won != 1 {
		t.Errorf("%d creators won", won)
	}
}

// othersWrites checks that the writes of another process become visible.
func othersWrites(t *testing.T, one, other truelayer.TokenStore) {
	id := newID()
	create(t, one, id, []byte("a"), ttl)
	wantRecord(t, other, id, []byte("a"))
	if err := one.Replace(t.Context(), id, []byte("a"), []byte("b"), ttl); err != nil {
		t.Fatalf("replace: %v", err)
	}
	await(t, "the other's replace", func() bool {
		record, err := other.Get(t.Context(), id)
		if err != nil {
			t.Fatalf("get: %v", err)
		}
		return string(record) == "b"
	})
	if err := one.Delete(t.Context(), id); err != nil {
		t.Fatalf("delete: %v", err)
	}
	wantError(t, "replace", other.Replace(t.Context(), id, []byte("b"), []byte("c"), ttl), fs.ErrNotExist)
	await(t, "the other's delete", func() bool {
		_, err := other.Get(t.Context(), id)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// pastCaches checks that after an ErrConflict, a process reads what the other
// process wrote.
func pastCaches(t *testing.T, one, other truelayer.TokenStore) {
	id := newID()
	record := []byte("start")
	create(t, one, id, record, ttl)
	for i := range 20 {
		wantRecord(t, other, id, record) // which may be cached
		next := fmt.Appendf(nil, "%d", i)
		if err := one.Replace(t.Context(), id, record, next, ttl); err != nil {
			t.Fatalf("replace: %v", err)
		}
		wantError(t, "replace", other.Replace(t.Context(), id, record, []byte("late"), ttl), truelayer.ErrConflict)
		wantRecord(t, other, id, next)
		record = next
	}
}
