// Package tokenstoretest checks that a store keeps the contract of
// truelayer.TokenStore. A test of a store calls Run:
//
//	func TestMyStore(t *testing.T) {
//		tokenstoretest.Run(t, func(t *testing.T) truelayer.TokenStore { … })
//	}
package tokenstoretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// Run runs the suite. open returns a store that is ready for use and whose
// resources end with the test; records that it holds already do no harm.
func Run(t *testing.T, open func(*testing.T) truelayer.TokenStore) {
	for name, test := range map[string]func(*testing.T, truelayer.TokenStore){
		"round trip":                   roundTrip,
		"ids of any bytes":             anyID,
		"a record of 64 KiB":           largeRecord,
		"absent":                       absent,
		"expired is absent":            expired,
		"create under a taken id":      createTaken,
		"create under an expired id":   createExpired,
		"replace needs the old record": replaceConflict,
		"replace starts the ttl anew":  replaceTTL,
		"replace after delete":         replaceDeleted,
		"one of many writers wins":     oneWinner,
		"one of many creators wins":    oneCreator,
		"no ttl":                       noTTL,
		"a context that has ended":     endedContext,
		"at once":                      atOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

const ttl = time.Hour

// newID returns an id as the module makes them.
func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return string(b[:])
}

func create(t *testing.T, s truelayer.TokenStore, id string, record []byte, ttl time.Duration) {
	t.Helper()
	if err := s.Create(t.Context(), id, record, ttl); err != nil {
		t.Fatalf("create: %v", err)
	}
}

func wantRecord(t *testing.T, s truelayer.TokenStore, id string, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("get: got %d bytes that are not the %d that were written", len(got), len(want))
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func roundTrip(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	create(t, s, id, []byte("one"), ttl)
	wantRecord(t, s, id, []byte("one"))
	if err := s.Replace(t.Context(), id, []byte("one"), []byte("two"), ttl); err != nil {
		t.Fatalf("replace: %v", err)
	}
	wantRecord(t, s, id, []byte("two"))
	if err := s.Delete(t.Context(), id); err != nil {
		t.Fatalf("delete: %v", err)
	}
	_, err := s.Get(t.Context(), id)
	wantError(t, "get after delete", err, fs.ErrNotExist)
}

func anyID(t *testing.T, s truelayer.TokenStore) {
	random := newID()
	ids := []string{
		random, random[:31], random + "x", "a" + random[:20], "A" + random[:20],
		random[:8] + "../../etc", random[:8] + "/a", random[:8] + "/", random[:8] + "*", random[:8] + "\x00\n",
	}
	for _, id := range ids {
		create(t, s, id, []byte(id), ttl)
	}
	for _, id := range ids {
		wantRecord(t, s, id, []byte(id))
	}
	for i, id := range ids {
		if err := s.Delete(t.Context(), id); err != nil {
			t.Fatalf("delete %q: %v", id, err)
		}
		for _, other := range ids[i+1:] {
			wantRecord(t, s, other, []byte(other))
		}
	}
}

func largeRecord(t *testing.T, s truelayer.TokenStore) {
	record := make([]byte, 64<<10)
	_, _ = rand.Read(record)
	id := newID()
	create(t, s, id, record, ttl)
	wantRecord(t, s, id, record)
}

func absent(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	_, err := s.Get(t.Context(), id)
	wantError(t, "get", err, fs.ErrNotExist)
	wantError(t, "replace", s.Replace(t.Context(), id, []byte("a"), []byte("b"), ttl), fs.ErrNotExist)
	if err := s.Delete(t.Context(), id); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// waitExpired waits until the record is gone. The store's clock is not ours to
// set, so this is the one place that waits for time to pass.
func waitExpired(t *testing.T, s truelayer.TokenStore, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := s.Get(ctx, id); errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the record did not expire")
		}
	}
}

func expired(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	create(t, s, id, []byte("a"), 20*time.Millisecond)
	waitExpired(t, s, id)
	wantError(t, "replace", s.Replace(t.Context(), id, []byte("a"), []byte("b"), ttl), fs.ErrNotExist)
	_, err := s.Get(t.Context(), id)
	wantError(t, "get after replace", err, fs.ErrNotExist)
}

func createTaken(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	create(t, s, id, []byte("a"), ttl)
	wantError(t, "create", s.Create(t.Context(), id, []byte("b"), ttl), fs.ErrExist)
	wantRecord(t, s, id, []byte("a"))
}

func createExpired(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	create(t, s, id, []byte("a"), 20*time.Millisecond)
	waitExpired(t, s, id)
	create(t, s, id, []byte("b"), ttl)
	wantRecord(t, s, id, []byte("b"))
}

func replaceConflict(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	create(t, s, id, []byte("a"), ttl)
	wantError(t, "replace", s.Replace(t.Context(), id, []byte("other"), []byte("b"), ttl), truelayer.ErrConflict)
	wantRecord(t, s, id, []byte("a"))
}

func replaceTTL(t *testing.T, s truelayer.TokenStore) {
	long, short := newID(), newID()
	create(t, s, short, []byte("a"), ttl)
	create(t, s, long, []byte("a"), 2*time.Second)
	if err := s.Replace(t.Context(), long, []byte("a"), []byte("b"), ttl); err != nil {
		t.Fatalf("replace: %v", err)
	}
	if err := s.Replace(t.Context(), short, []byte("a"), []byte("b"), 2100*time.Millisecond); err != nil {
		t.Fatalf("replace: %v", err)
	}
	waitExpired(t, s, short) // by then the other would be gone as well
	wantRecord(t, s, long, []byte("b"))
}

func replaceDeleted(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	create(t, s, id, []byte("a"), ttl)
	if err := s.Delete(t.Context(), id); err != nil {
		t.Fatalf("delete: %v", err)
	}
	wantError(t, "replace", s.Replace(t.Context(), id, []byte("a"), []byte("b"), ttl), fs.ErrNotExist)
	_, err := s.Get(t.Context(), id)
	wantError(t, "get", err, fs.ErrNotExist)
}

// together calls f from many goroutines and counts the calls without error;
// every other error has to be the one that is allowed.
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

func oneWinner(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	record := []byte("start")
	create(t, s, id, record, ttl)
	for round := range 5 {
		won := together(t, truelayer.ErrConflict, func(i int) error {
			return s.Replace(t.Context(), id, record, fmt.Appendf(nil, "%d/%d", round, i), ttl)
		})
		if won != 1 {
			t.Fatalf("round %d: %d writers won", round, won)
		}
		var err error
		if record, err = s.Get(t.Context(), id); err != nil {
			t.Fatalf("get: %v", err)
		}
	}
}

func oneCreator(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	won := together(t, fs.ErrExist, func(i int) error {
		return s.Create(t.Context(), id, fmt.Appendf(nil, "%d", i), ttl)
	})
	if won != 1 {
		t.Errorf("%d creators won", won)
	}
}

func noTTL(t *testing.T, s truelayer.TokenStore) {
	for _, ttl := range []time.Duration{0, -time.Second} {
		id := newID()
		if err := s.Create(t.Context(), id, []byte("a"), ttl); err == nil {
			t.Errorf("create with a ttl of %v: no error", ttl)
		}
		_, err := s.Get(t.Context(), id)
		wantError(t, "get", err, fs.ErrNotExist)
	}
}

func endedContext(t *testing.T, s truelayer.TokenStore) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := newID()
	if err := s.Create(ctx, id, []byte("a"), ttl); !errors.Is(err, context.Canceled) {
		t.Errorf("create: got error %v, want %v", err, context.Canceled)
	}
	_, err := s.Get(t.Context(), id)
	wantError(t, "get", err, fs.ErrNotExist)
}

// atOnce is for the race detector.
func atOnce(t *testing.T, s truelayer.TokenStore) {
	ids := []string{newID(), newID(), newID()}
	together(t, nil, func(i int) error {
		for n := range 50 {
			id := ids[(i+n)%len(ids)]
			record, err := s.Get(t.Context(), id)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				err = s.Create(t.Context(), id, []byte("a"), ttl)
			case err == nil && n%3 == 0:
				err = s.Replace(t.Context(), id, record, fmt.Appendf(nil, "%d", n), ttl)
			case err == nil && n%7 == 0:
				err = s.Delete(t.Context(), id)
			}
			if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, truelayer.ErrConflict) {
				return err
			}
		}
		return nil
	})
}
