package truelayer

import (
	"context"
	"errors"
	"io/fs"
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
		dead := &storageLease{s: one, key: storagePrefix + "/69/6964" + leaseSuffix, token: "dead"}
		err = one.exclusively(t.Context(), dead.key, func(ctx context.Context, w *storageWrite) error {
			return w.create(ctx, dead.record(7), 2*leaseForgotten)
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		late, err := other.Lock(t.Context(), "id")
		if waited := time.Since(start); err != nil || waited < leaseLasts || waited > 2*leaseLasts {
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

// TestStorageLeavesNothing: with a session goes all that belonged to it, and
// what has no session is swept away.
func TestStorageLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		s := openStorage(t, folder, 0)
		locks := noteLocks(t, s)
		fill := func(ids ...string) {
			t.Helper()
			for _, id := range ids {
				if err := s.Create(t.Context(), id, []byte("record"), 2*time.Hour); err != nil {
					t.Fatal(err)
				}
			}
		}
		rename := func() { // the locks of what is there
			t.Helper()
			time.Sleep(time.Minute)
			locks.leave(t, text("text"))
		}
		fill("deleted", "expires")
		rename()
		for _, id := range []string{"deleted", "expires"} {
			if err := s.Replace(t.Context(), id, []byte("record"), []byte("record"), 2*time.Hour); err != nil {
				t.Fatal(err)
			}
			unlock, err := s.Lock(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			unlock()
		}
		if err := s.Delete(t.Context(), "deleted"); err != nil {
			t.Fatal(err)
		}
		if names := files(t, folder); len(names) != 2 {
			t.Errorf("%q are left of one record, whose lock has a new name", names)
		}
		// names of locks without a record, damaged ones, and leases of the dead
		for name, content := range map[string]string{
			"64/64" + lockNameSuffix:               "a name",
			"64/65" + lockNameSuffix:               "of another folder",
			"66/66" + lockNameSuffix:               "",
			"67/67" + leaseSuffix:                  strings.Repeat("\x00", 30),
			"68/68" + leaseSuffix + lockNameSuffix: "\x00",
		} {
			file := filepath.Join(folder, storagePrefix, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), text(content)(file)); err != nil {
				t.Fatal(err)
			}
		}
		fill("lasts")
		time.Sleep(90 * time.Minute)
		if err := s.Replace(t.Context(), "lasts", []byte("record"), []byte("record"), 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := s.sweepDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		key, err := storageKey("lasts")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{storagePrefix + "/64/65" + lockNameSuffix, key, sweptKey}
		if names := files(t, folder); !slices.Equal(names, want) {
			t.Errorf("%q are left, want %q", names, want)
		}
		time.Sleep(time.Minute)
	})
}

// TestStorageLockNames: what is in the place of a lock's name may be anything.
func TestStorageLockNames(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "zeros": strings.Repeat("\x00", 100), "a path": "../../etc/passwd", "long": strings.Repeat("x", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			one, other := openStorage(t, folder, 0), openStorage(t, folder, 0)
			if err := one.Create(t.Context(), "id", []byte("a"), time.Hour); err != nil {
				t.Fatal(err)
			}
			if err := text(content)(filepath.Join(folder, storagePrefix, "69", "6964"+lockNameSuffix)); err != nil {
				t.Fatal(err)
			}
			if err := one.Replace(t.Context(), "id", []byte("a"), []byte("b"), time.Hour); err != nil {
				t.Error(err)
			}
			if err := other.Delete(t.Context(), "id"); err != nil {
				t.Error(err)
			}
			if names := files(t, folder); len(names) > 0 {
				t.Errorf("%q are left", names)
			}
		})
	}
}

// comingAndGoing is a file system whose files are gone when they are looked at.
type comingAndGoing struct {
	*notedLocks
	times int
}

func (c *comingAndGoing) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if c.times--; c.times >= 0 && c.Exists(ctx, prefix) {
		return nil, fs.ErrNotExist
	}
	return c.notedLocks.List(ctx, prefix, recursive)
}

// TestStorageListWhileFilesGo: a file that goes while its folder is listed
// hides no other.
func TestStorageListWhileFilesGo(t *testing.T) {
	s := openStorage(t, t.TempDir(), 0)
	if err := s.Create(t.Context(), "id", []byte("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	s.storage = &comingAndGoing{noteLocks(t, s), 3}
	if ids, _, err := s.List(t.Context(), "", 10); err != nil || !slices.Equal(ids, []string{"id"}) {
		t.Errorf("got %q, %v", ids, err)
	}
	s.storage.(*comingAndGoing).times = 1 << 20
	if ids, _, err := s.List(t.Context(), "", 10); err == nil {
		t.Errorf("got %q of a folder that cannot be listed", ids)
	}
}
