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
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// openStorage opens a store on a folder, as a process of its own would.
func openStorage(t *testing.T, folder string, cacheTTL time.Duration) *StorageStore {
	t.Helper()
	shared := newStorageProcessState(cacheTTL)
	t.Cleanup(func() { _ = shared.Destruct() })
	return storeOn(&certmagic.FileStorage{Path: folder}, shared)
}

// storeOn returns a store on a storage, for a process.
func storeOn(storage certmagic.Storage, shared *storageProcessState) *StorageStore {
	records := &storageRecords{storage: storage, writers: &shared.writers, logger: zap.NewNop()}
	return &StorageStore{records: records, cache: shared.cache}
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
			f.FileStorage = s.records.storage.(*certmagic.FileStorage)
			s.records.storage = f
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
	s.records.storage = &comingAndGoing{noteLocks(t, s), 3}
	if ids, _, err := s.List(t.Context(), "", 10); err != nil || !slices.Equal(ids, []string{"id"}) {
		t.Errorf("got %q, %v", ids, err)
	}
	s.records.storage.(*comingAndGoing).times = 1 << 20
	if ids, _, err := s.List(t.Context(), "", 10); err == nil {
		t.Errorf("got %q of a folder that cannot be listed", ids)
	}
}
