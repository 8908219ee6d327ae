// Package tokenstoretest tests that a store implements the contract of
// truelayer.TokenStore, and those of Locker and Lister if it has their methods.
// The test of a store calls Run:
//
//	func TestMyStore(t *testing.T) {
//		tokenstoretest.Run(t, func(t *testing.T) tokenstoretest.Medium {
//			folder := t.TempDir()
//			return tokenstoretest.Medium{Open: func(t *testing.T) truelayer.TokenStore { … }}
//		})
//	}
package tokenstoretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// Medium is where a store keeps its records, such as a folder or a server.
type Medium struct {
	// Open opens a store on the medium. Each call acts as a separate process. It
	// releases resources when the test ends.
	Open func(*testing.T) truelayer.TokenStore

	// LoseLock makes the lock of an id expire, as if its holder had been paused
	// for too long. It is nil if the store has no locks, or if a holder cannot
	// detect that its lock was taken over.
	LoseLock func(t *testing.T, id string)
}

// Run runs the tests, most of them in parallel. Each test calls medium, which may
// return the same Medium every time: other records do no harm.
func Run(t *testing.T, medium func(*testing.T) Medium) {
	tests := map[string]func(*testing.T, truelayer.TokenStore){
		"round trip":                   roundTrip,
		"its own writes":               ownWrites,
		"ids of any bytes":             anyID,
		"a record of 64 KiB":           largeRecord,
		"absent":                       absent,
		"expired is absent":            expired,
		"create under a taken id":      createTaken,
		"create under an expired id":   createExpired,
		"replace needs the old record": replaceConflict,
		"replace starts the ttl anew":  replaceTTL,
		"replace after delete":         replaceDeleted,
		"no ttl":                       noTTL,
		"a context that has ended":     endedContext,
		"at once":                      atOnce,
		"after its cleanup":            afterCleanup,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, medium(t).Open(t))
		})
	}
	between := map[string]func(t *testing.T, one, other truelayer.TokenStore){
		"one of many writers wins":   oneWinner,
		"one of many creators wins":  oneCreator,
		"what others write":          othersWrites,
		"past caches after conflict": pastCaches,
	}
	for name, test := range between {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := medium(t)
			test(t, m.Open(t), m.Open(t))
		})
	}
	m := medium(t)
	store := m.Open(t)
	if _, ok := store.(truelayer.Locker); ok {
		t.Run("locks", func(t *testing.T) { locks(t, medium, m.LoseLock != nil) })
	}
	if _, ok := store.(truelayer.Lister); ok {
		t.Run("listing", func(t *testing.T) { listing(t, medium(t).Open(t)) })
	}
}

const ttl = time.Hour

// newID returns an id of the form that the module uses.
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

// await polls until something has happened, because a test cannot set a store's
// clock.
func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func waitExpired(t *testing.T, s truelayer.TokenStore, id string) {
	t.Helper()
	await(t, "the record to expire", func() bool {
		_, err := s.Get(t.Context(), id)
		return errors.Is(err, fs.ErrNotExist)
	})
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
	waitExpired(t, s, short) // by now long has outlived its first ttl
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
	id, free := newID(), newID()
	create(t, s, id, []byte("a"), ttl)
	wantError(t, "create", s.Create(ctx, free, []byte("a"), ttl), context.Canceled)
	wantError(t, "replace", s.Replace(ctx, id, []byte("a"), []byte("b"), ttl), context.Canceled)
	wantError(t, "delete", s.Delete(ctx, id), context.Canceled)
	if _, err := s.Get(ctx, id); err != nil { // a store without waiting may answer
		wantError(t, "get", err, context.Canceled)
	}
	wantRecord(t, s, id, []byte("a"))
	_, err := s.Get(t.Context(), free)
	wantError(t, "get what was not created", err, fs.ErrNotExist)
}

// ownWrites checks that a process reads its own writes in spite of caches.
func ownWrites(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	record := []byte("start")
	create(t, s, id, record, ttl)
	for i := range 50 {
		wantRecord(t, s, id, record)
		next := fmt.Appendf(nil, "%d", i)
		if err := s.Replace(t.Context(), id, record, next, ttl); err != nil {
			t.Fatalf("replace: %v", err)
		}
		record = next
		wantRecord(t, s, id, record)
	}
	if err := s.Delete(t.Context(), id); err != nil {
		t.Fatalf("delete: %v", err)
	}
	_, err := s.Get(t.Context(), id)
	wantError(t, "get after delete", err, fs.ErrNotExist)
	create(t, s, id, []byte("again"), ttl)
	wantRecord(t, s, id, []byte("again"))
}

// afterCleanup checks that a store works after its Cleanup, since requests outlive
// a reload.
func afterCleanup(t *testing.T, s truelayer.TokenStore) {
	id := newID()
	create(t, s, id, []byte("before"), ttl)
	if module, ok := s.(caddy.CleanerUpper); ok {
		if err := module.Cleanup(); err != nil {
			t.Fatalf("cleanup: %v", err)
		}
	}
	wantRecord(t, s, id, []byte("before"))
	if err := s.Replace(t.Context(), id, []byte("before"), []byte("after"), ttl); err != nil {
		t.Fatalf("replace: %v", err)
	}
	wantRecord(t, s, id, []byte("after"))
	roundTrip(t, s)
}

// atOnce makes concurrent calls for the race detector.
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
