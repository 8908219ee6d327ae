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
	// storageFolders is how many folders the records lie in.
	storageFolders = 256
	// maxListings is how often a folder is listed whose files come and go.
	maxListings = 100

	// storageTimeout bounds a read, and a write with the wait for its lock, which
	// is lockWait and renameWait at most.
	storageTimeout = 12 * time.Second
)

// storageRecords reads and writes the records in a storage. Each key has one
// writer at a time.
type storageRecords struct {
	storage certmagic.Storage
	writers *flight.Limiter[string] // in this process, for each key
	logger  *zap.Logger
}

// storageKey is where the record with the id is: its digits in hexadecimal,
// which no file system takes for something else, in one of 256 folders.
func storageKey(id string) (string, error) {
	if id == "" { // would be the folder of all sessions
		return "", errors.New("a session's id is empty")
	}
	name := hex.EncodeToString([]byte(id))
	return storagePrefix + "/" + name[:2] + "/" + name, nil
}

// storageID is the inverse of storageKey. Beside the records are leases, the
// names of locks, and on a file system files that are just being written.
func storageID(key string) (id string, ok bool) {
	decoded, err := hex.DecodeString(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil {
		return "", false
	}
	same, err := storageKey(string(decoded))
	return string(decoded), err == nil && same == key
}

// listFolder returns the keys in a folder. A file system's list ends where it
// finds that a file is gone, so it is asked again.
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

// load reads a record from the storage: eight bytes of its end in Unix
// milliseconds, since a storage forgets nothing by itself, and the rest.
func (r *storageRecords) load(ctx context.Context, key string) (record []byte, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	stored, err := r.storage.Load(ctx, key)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(stored) >= 8 {
		expires = time.UnixMilli(int64(binary.BigEndian.Uint64(stored))) //nolint:gosec // as it was written
	}
	if !time.Now().Before(expires) {
		return nil, time.Time{}, fs.ErrNotExist
	}
	return stored[8:], expires, nil
}

// storageWrite is a write under one key while nobody else writes there.
type storageWrite struct {
	records *storageRecords
	key     string
	lock    *storageLock
}

var errLockLost = errors.New("this process stood still for so long that its lock may be another's by now; nothing was written")

// exclusively runs a write while no other one under the same key runs, in this
// process or in another: a storage can neither compare nor swap. In the
// process they queue for their turn here, since a storage's lock looks only
// once a second whether it is free.
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
		return fmt.Errorf("taking the storage's lock for a write: %w", noAnswer(err))
	}
	defer lock.unlock(ctx)
	return write(ctx, &storageWrite{records: r, key: key, lock: lock})
}

// create is Create while nobody else writes.
func (w *storageWrite) create(ctx context.Context, record []byte, ttl time.Duration) error {
	switch _, _, err := w.records.load(ctx, w.key); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return w.store(ctx, record, ttl)
}

// replace is Replace while nobody else writes.
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

// store writes a record in the layout that load reads.
func (w *storageWrite) store(ctx context.Context, record []byte, ttl time.Duration) error {
	if err := checkWrite(ctx, ttl); err != nil {
		return err
	}
	stored := make([]byte, 8, 8+len(record))
	binary.BigEndian.PutUint64(stored, uint64(time.Now().Add(ttl).UnixMilli()))
	if w.lock.late() {
		return errLockLost
	}
	return noAnswer(w.records.storage.Store(ctx, w.key, append(stored, record...)))
}

// remove deletes the record, and then its lock's name if that has another than
// at first. There is nothing left to do then that needed the lock.
func (w *storageWrite) remove(ctx context.Context) error {
	if w.lock.late() {
		return errLockLost
	}
	if err := w.records.storage.Delete(ctx, w.key); err != nil || !w.lock.renamed || w.lock.late() {
		return noAnswer(err) // a name that stays is swept away
	}
	return noAnswer(w.records.storage.Delete(ctx, w.key+lockNameSuffix))
}

// noAnswer returns a failure that does not read like an answer about the
// record: a file system says the same of a folder that is just being removed.
func noAnswer(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return errors.New(err.Error())
	}
	return err
}
