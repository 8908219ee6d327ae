package truelayer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// loseStorageLock takes an id's lock away from whoever has it.
func loseStorageLock(t *testing.T, folder, id string) {
	t.Helper()
	key, err := storageKey(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, key+leaseSuffix)); err != nil {
		t.Fatal(err)
	}
}

// TestStorageLease: a lock is its holder's for as long as that lives, however
// long that is, and soon another's when it does not.
func TestStorageLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		one, other := openStorage(t, folder, 0), openStorage(t, folder, 0)
		unlock, err := one.Lock(t.Context(), "id")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if _, err := other.Lock(ctx, "id"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a lock that is held for minutes: got error %v", err)
		}
		if ids, _, err := one.List(t.Context(), "", 10); err != nil || len(ids) > 0 {
			t.Errorf("%q are listed, %v", ids, err)
		}
		unlock()

		// what a process that was killed leaves, whose clock is an hour behind
		dead := &storageLease{records: one.records, key: storagePrefix + "/69/6964" + leaseSuffix, token: "dead"}
		err = one.records.exclusively(t.Context(), dead.key, func(ctx context.Context, w *storageWrite) error {
			return w.create(ctx, dead.record(7), 2*leaseRecordTTL)
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		late, err := other.Lock(t.Context(), "id")
		if waited := time.Since(start); err != nil || waited < leaseTTL || waited > 2*leaseTTL {
			t.Errorf("a dead holder's lock: %v, after %v", err, waited)
		}
		// it wakes up, and finds another's
		dead.done = make(chan struct{})
		dead.renew(t.Context())
		dead.release(t.Context())
		if names := files(t, folder); !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, leaseSuffix) }) {
			t.Errorf("a lock was given back that was another's: %q are left", names)
		}
		late()
		if names := files(t, folder); len(names) > 0 {
			t.Errorf("%q are left", names)
		}
		time.Sleep(time.Minute) // for those who keep locks' files fresh
	})
}
