package truelayer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// notedLocks is a file system that notes what locks it was asked for.
type notedLocks struct {
	*certmagic.FileStorage
	mu    sync.Mutex
	names map[string]bool
}

// noteLocks notes a store's locks from now on.
func noteLocks(t *testing.T, s *StorageStore) *notedLocks {
	t.Helper()
	files, ok := s.storage.(*certmagic.FileStorage)
	if !ok {
		t.Fatalf("the store is on a %T", s.storage)
	}
	n := &notedLocks{FileStorage: files, names: make(map[string]bool)}
	s.storage = n
	return n
}

func (n *notedLocks) Lock(ctx context.Context, name string) error {
	n.mu.Lock()
	n.names[name] = true
	n.mu.Unlock()
	return n.FileStorage.Lock(ctx, name)
}

// leave leaves something in the place of every lock's file.
func (n *notedLocks) leave(t *testing.T, write func(file string) error) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.names) == 0 {
		t.Fatal("there are no locks")
	}
	for name := range n.names {
		if err := write(filepath.Join(n.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock")); err != nil {
			t.Fatal(err)
		}
	}
}

func text(content string) func(string) error {
	return func(file string) error { return os.WriteFile(file, []byte(content), 0o600) }
}

// heldSince is the lock file of a process that died, ago before now.
func heldSince(ago time.Duration) func(string) error {
	return func(file string) error {
		at := time.Now().Add(-ago).Format(time.RFC3339Nano)
		return os.WriteFile(file, fmt.Appendf(nil, `{"created":%q,"updated":%q}`, at, at), 0o600)
	}
}

// lockFiles are lock files of which no process knows anything.
var lockFiles = map[string]func(file string) error{
	"empty":                    text(""),
	"zeros":                    text(strings.Repeat("\x00", 100)),
	"half":                     text(`{"created":"2026-01-02T03:04:05Z","upd`),
	"text":                     text("locked by node 7\n"),
	"a number":                 text("4711"),
	"null":                     text("null"),
	"no times":                 text("{}"),
	"times that are none":      text(`{"created":"yesterday","updated":"today"}`),
	"long":                     text(strings.Repeat("{", 1<<20)),
	"a directory":              func(file string) error { return os.Mkdir(file, 0o700) },
	"of a process that died":   heldSince(0),
	"of one that did long ago": heldSince(24 * time.Hour),
	"of a time yet to come":    heldSince(-24 * time.Hour),
	"of a time yet to come, UTC": func(file string) error {
		return text(`{"created":"2999-01-02T03:04:05Z","updated":"2999-01-02T03:04:05Z"}`)(file)
	},
}

// storageActs are all that takes locks.
var storageActs = map[string]func(ctx context.Context, s *StorageStore) error{
	"Create": func(ctx context.Context, s *StorageStore) error {
		return s.Create(ctx, "other", []byte("a"), time.Hour)
	},
	"Replace": func(ctx context.Context, s *StorageStore) error {
		return s.Replace(ctx, "id", []byte("a"), []byte("a"), time.Hour)
	},
	"Delete": func(ctx context.Context, s *StorageStore) error { return s.Delete(ctx, "other") },
	"Lock": func(ctx context.Context, s *StorageStore) error {
		unlock, err := s.Lock(ctx, "id")
		if err == nil {
			unlock()
		}
		return err
	},
	"the sweep": func(ctx context.Context, s *StorageStore) error { return s.sweepDue(ctx) },
}

// stuckStorage calls f in a bubble, for each of what takes locks, with a store
// whose locks' names are known.
func stuckStorage(t *testing.T, f func(t *testing.T, s *StorageStore, locks *notedLocks, act func() error)) {
	t.Helper()
	for name, act := range storageActs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openStorage(t, t.TempDir(), 0)
				locks := noteLocks(t, s)
				defer func() { // who keeps a lock's file fresh ends when it is gone
					_ = os.RemoveAll(locks.Path)
					time.Sleep(time.Minute)
				}()
				if err := s.Create(t.Context(), "id", []byte("a"), time.Hour); err != nil {
					t.Fatal(err)
				}
				prepare := func() {
					_ = s.storage.Delete(t.Context(), sweptKey)
					_ = s.Delete(t.Context(), "other")
					if name == "Delete" {
						_ = s.Create(t.Context(), "other", []byte("a"), time.Hour)
					}
				}
				prepare()
				if err := act(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				prepare()
				f(t, s, locks, func() error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					return act(ctx, s)
				})
			})
		})
	}
}

// TestStorageLockFiles: a lock's file that nobody has written, or somebody who
// died, holds nothing up for more than some seconds.
func TestStorageLockFiles(t *testing.T) {
	for name, write := range lockFiles {
		t.Run(name, func(t *testing.T) {
			stuckStorage(t, func(t *testing.T, s *StorageStore, locks *notedLocks, act func() error) {
				time.Sleep(time.Minute) // nobody keeps an earlier lock fresh
				locks.leave(t, write)
				start := time.Now()
				if err := act(); err != nil {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				if _, err := s.Get(t.Context(), "id"); err != nil {
					t.Errorf("the record: %v", err)
				}
			})
		})
	}
}

// TestStorageLockKeptFresh: another process than its holder, which died, keeps
// a lock's file fresh: its own of the same name it gave back just before.
func TestStorageLockKeptFresh(t *testing.T) {
	stuckStorage(t, func(t *testing.T, s *StorageStore, locks *notedLocks, act func() error) {
		locks.leave(t, heldSince(0))
		time.Sleep(time.Minute)
		start := time.Now()
		if err := act(); err != nil {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}
