package truelayer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// openStorage opens a store on a folder, as a process of its own would.
func openStorage(t *testing.T, folder string, cacheTTL time.Duration) *StorageStore {
	t.Helper()
	shared := newStorageProcess(cacheTTL)
	t.Cleanup(func() { _ = shared.Destruct() })
	return &StorageStore{storage: &certmagic.FileStorage{Path: folder}, shared: shared, logger: zap.NewNop()}
}

// files are the names of the files below a folder of the storage.
func files(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, folder+"/"))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

func TestStorageSweep(t *testing.T) { synctest.Test(t, storageSweep) }

func storageSweep(t *testing.T) {
	folder := t.TempDir()
	s := openStorage(t, folder, 0)
	for i := range 20 {
		ttl := time.Hour
		if i%2 == 0 {
			ttl = time.Millisecond
		}
		if err := s.Create(t.Context(), fmt.Sprintf("%c %d", 'a'+i, i), []byte("record"), ttl); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	// what a process leaves behind that was killed in the middle of a write
	leftover := filepath.Join(folder, storagePrefix, "61", "1234567890")
	if err := os.WriteFile(leftover, []byte("record"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.sweepDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(files(t, folder+"/"+storagePrefix)); got != 10+1 {
		t.Errorf("%d files are left of 10 records that last and one of another's", got)
	}
	if err := s.Create(t.Context(), "short", []byte("record"), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := openStorage(t, folder, 0).sweepDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(files(t, folder+"/"+storagePrefix)); got != 10+1+1 {
		t.Errorf("%d files are left: a second process should not have swept so soon", got)
	}
	time.Sleep(time.Minute) // for those who keep locks' files fresh
}

// TestStorageKey: no id leads out of the store's folder or to all of it.
func TestStorageKey(t *testing.T) {
	if key, err := storageKey(""); err == nil {
		t.Errorf("an empty id is %q", key)
	}
	for _, id := range []string{"a", "../../etc/passwd", "\x00", strings.Repeat("x", 64)} {
		key, err := storageKey(id)
		if err != nil || !strings.HasPrefix(key, storagePrefix+"/"+hex.EncodeToString([]byte(id))[:2]+"/") || strings.Contains(key, "..") {
			t.Errorf("%q is %q, %v", id, key, err)
		}
		if back, ok := storageID(key); !ok || back != id {
			t.Errorf("%q comes back as %q, %v", id, back, ok)
		}
	}
}

// TestStorageDamaged: a file that was cut off is no record, and no panic.
func TestStorageDamaged(t *testing.T) {
	folder := t.TempDir()
	s := openStorage(t, folder, 0)
	if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	key, err := storageKey("id")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "short", "\x00\x00\x00\x00\x00\x00\x00\x00record"} {
		if err := os.WriteFile(filepath.Join(folder, key), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "id"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got error %v", content, err)
		}
	}
}

// TestStorageLockLost: a write that held its lock for too long does nothing.
func TestStorageLockLost(t *testing.T) {
	folder := t.TempDir()
	s := openStorage(t, folder, 0)
	w := &storageWrite{s: s, key: "truelayer/sessions/69/6964", locked: time.Now().Add(-lockValid - time.Second)}
	if err := w.store(t.Context(), []byte("record"), time.Hour); !errors.Is(err, errLockLost) {
		t.Errorf("got error %v, want %v", err, errLockLost)
	}
	if got := files(t, folder); len(got) > 0 {
		t.Errorf("it wrote %q", got)
	}
}

// failingStorage is a file system on which one thing fails.
type failingStorage struct {
	*certmagic.FileStorage
	lock, store, remove error
}

func (f *failingStorage) Lock(ctx context.Context, name string) error {
	if f.lock != nil {
		return f.lock
	}
	return f.FileStorage.Lock(ctx, name)
}

func (f *failingStorage) Store(ctx context.Context, key string, value []byte) error {
	if f.store != nil {
		return f.store
	}
	return f.FileStorage.Store(ctx, key, value)
}

func (f *failingStorage) Delete(ctx context.Context, key string) error {
	if f.remove != nil {
		return f.remove
	}
	return f.FileStorage.Delete(ctx, key)
}

// TestStorageFails: a failure of the storage's is no answer about a record,
// whatever it says.
func TestStorageFails(t *testing.T) {
	for _, failure := range []error{
		&fs.PathError{Op: "open", Path: "folder", Err: fs.ErrNotExist},
		&fs.PathError{Op: "mkdir", Path: "folder", Err: fs.ErrExist},
	} {
		for name, f := range map[string]*failingStorage{
			"Lock": {lock: failure}, "Store": {store: failure}, "Delete": {remove: failure},
		} {
			s := openStorage(t, t.TempDir(), 0)
			if err := s.Create(t.Context(), "id", []byte("a"), time.Hour); err != nil {
				t.Fatal(err)
			}
			f.FileStorage = s.storage.(*certmagic.FileStorage)
			s.storage = f
			for _, err := range []error{
				s.Create(t.Context(), "other", []byte("a"), time.Hour),
				s.Replace(t.Context(), "id", []byte("a"), []byte("b"), time.Hour),
				s.Delete(t.Context(), "id"),
			} {
				if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
					t.Errorf("%s fails with %v, and that is the answer", name, err)
				}
			}
		}
	}
}

// TestReadCache: what was read before a write is not kept after it, and
// nothing is kept for longer than was promised.
func TestReadCache(t *testing.T) {
	c := newReadCache(time.Minute)
	defer c.close()
	expires := time.Now().Add(time.Hour)
	before := c.look("id")
	c.forget("id") // a write, while the read is under way
	c.keep("id", []byte("old"), expires, before)
	if record, ok := c.get("id"); ok {
		t.Errorf("%q was kept over a write", record)
	}
	c.keep("id", []byte("new"), expires, c.look("id"))
	if record, ok := c.get("id"); !ok || string(record) != "new" {
		t.Errorf("got %q, %v", record, ok)
	}
	late := c.look("late")
	late.at = late.at.Add(-time.Minute) // a read that took a minute
	c.keep("late", []byte("old"), expires, late)
	if _, ok := c.get("late"); ok {
		t.Error("a record that was old already was kept")
	}
	c.keep("expired", []byte("old"), time.Now(), c.look("expired"))
	if _, ok := c.get("expired"); ok {
		t.Error("an expired record was kept")
	}
}
