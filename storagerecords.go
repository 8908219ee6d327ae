package truelayer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	storagePrefix = "truelayer/sessions"
	// storageFolders is how many folders the records are spread over.
	storageFolders = 256
	// maxListings is how many times listFolder tries while files disappear.
	maxListings = 100

	// storageTimeout bounds a read. It also bounds a write together with the
	// wait for its lock, which is lockWait and renameWait at most.
	storageTimeout = 12 * time.Second
)

// storageRecords reads and writes the records in a storage. It allows one
// writer of a key at a time.
type storageRecords struct {
	storage certmagic.Storage
	writers *flight.Limiter[string] // of this process, by key
	logger  *zap.Logger
}

// storageKey returns the key of the record with the id. It is the id in
// hexadecimal, which every file system accepts as a name, in one of 256 folders.
func storageKey(id string) (string, error) {
	if id == "" { // its key would be the folder of all sessions
		return "", errors.New("the session's id is empty")
	}
	name := hex.EncodeToString([]byte(id))
	return storagePrefix + "/" + name[:2] + "/" + name, nil
}

// storageID is the inverse of storageKey. It rejects the other keys in the
// folders: leases, names of locks, and files that are being written.
func storageID(key string) (id string, ok bool) {
	decoded, err := hex.DecodeString(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil {
		return "", false
	}
	same, err := storageKey(string(decoded))
	return string(decoded), err == nil && same == key
}

// listFolder returns the keys in a folder. The listing of a file system fails
// if a file disappears meanwhile, so it is repeated.
func (r *storageRecords) listFolder(ctx context.Context, folder int) (keys []string, err error) {
	prefix := fmt.Sprintf("%s/%02x", storagePrefix, folder)
	for range maxListings {
		keys, err = r.storage.List(ctx, prefix, false)
		if err == nil {
			return keys, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if !r.storage.Exists(ctx, prefix) {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("listing sessions: %w", err)
}

// load reads a record from the storage. The record is stored behind eight bytes
// with its expiry in Unix milliseconds, since a storage expires nothing by
// itself.
func (r *storageRecords) load(ctx context.Context, key string) (record []byte, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	stored, err := r.storage.Load(ctx, key)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(stored) >= 8 {
		expires = time.UnixMilli(int64(binary.BigEndian.Uint64(stored))) //nolint:gosec // written by store
	}
	if !time.Now().Before(expires) {
		return nil, time.Time{}, fs.ErrNotExist
	}
	return stored[8:], expires, nil
}

// storageWrite is a write under one key. Nobody else writes there meanwhile.
type storageWrite struct {
	records *storageRecords
	key     string
	lock    *storageLock
}

var errLockLost = errors.New("this process was paused for so long that another one may hold its lock; nothing was written")

// exclusively runs a write while no other write under the same key runs, in
// this process or another. It stands in for compare-and-swap, which a storage
// does not have. Writers in the same process queue here, since a storage checks
// only once a second whether a lock is free.
func (r *storageRecords) exclusively(ctx context.Context, key string, write func(context.Context, *storageWrite) error) error {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := r.writers.Take(ctx, key)
	if err != nil {
		return err
	}
	defer done()
	lock, err := lockStorage(ctx, r.storage, key, r.logger)
	if err != nil {
		return fmt.Errorf("taking the storage's lock for a write: %w", asFailure(err))
	}
	defer lock.unlock(ctx)
	return write(ctx, &storageWrite{records: r, key: key, lock: lock})
}

// create implements Create.
func (w *storageWrite) create(ctx context.Context, record []byte, ttl time.Duration) error {
	switch _, _, err := w.records.load(ctx, w.key); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return w.store(ctx, record, ttl)
}

// replace implements Replace.
func (w *storageWrite) replace(ctx context.Context, old, record []byte, ttl time.Duration) error {
	found, _, err := w.records.load(ctx, w.key)
	if err != nil {
		return err
	}
	if !bytes.Equal(found, old) {
		return ErrConflict
	}
	return w.store(ctx, record, ttl)
}

// store writes a record as load reads it.
func (w *storageWrite) store(ctx context.Context, record []byte, ttl time.Duration) error {
	if err := checkWrite(ctx, ttl); err != nil {
		return err
	}
	stored := make([]byte, 8, 8+len(record))
	binary.BigEndian.PutUint64(stored, uint64(time.Now().Add(ttl).UnixMilli()))
	if w.lock.expired() {
		return errLockLost
	}
	return asFailure(w.records.storage.Store(ctx, w.key, append(stored, record...)))
}

// remove deletes the record, and then the name of its lock if the lock was
// renamed. Nothing after that needs the lock.
func (w *storageWrite) remove(ctx context.Context) error {
	if w.lock.expired() {
		return errLockLost
	}
	if err := w.records.storage.Delete(ctx, w.key); err != nil || !w.lock.renamed || w.lock.expired() {
		return asFailure(err) // the sweep deletes a name that remains
	}
	return asFailure(w.records.storage.Delete(ctx, w.key+lockNameSuffix))
}

// asFailure returns err as a failure of the storage. A file system may return
// fs.ErrNotExist or fs.ErrExist because a folder is being removed, and callers
// would take that for the state of the record.
func asFailure(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return errors.New(err.Error())
	}
	return err
}
