package truelayer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// storageTimeout bounds a write, the wait for its lock included, also for
	// one that has to be given another name: lockWait and renameWait.
	storageTimeout = 12 * time.Second
	// lockValid is how long after it was taken a write still trusts its lock.
	lockValid = 2 * time.Second
	// renameWait is how long a lock is held under its new name before anything
	// is written: who has it under the old one writes nothing after lockValid,
	// and has as long again for a write that it has begun.
	renameWait = 2 * lockValid
	// lockWait is how long a lock is waited for that nobody gives back. It is
	// longer than renameWait, since locks are looked at once a second.
	lockWait = renameWait + 2*time.Second
	// lockRetry is how soon a lock is asked for again that answered with an
	// error. A lock's file that is just being written looks damaged.
	lockRetry = 250 * time.Millisecond

	// lockNameSuffix is what the key of a lock's name ends in.
	lockNameSuffix = ".lockname"
)

// storageWrite is a write under one key while nobody else writes there.
type storageWrite struct {
	s       *StorageStore
	key     string
	name    string // of the lock
	renamed bool   // the name is in the storage
	locked  time.Time
}

var errLockLost = errors.New("this process stood still for so long that its lock may be another's by now; nothing was written")

// exclusively runs a write while no other one under the same key runs, in this
// process or in another: a storage can neither compare nor swap. In the
// process they queue for their turn here, since a storage's lock looks only
// once a second whether it is free.
func (s *StorageStore) exclusively(ctx context.Context, key string, write func(context.Context, *storageWrite) error) error {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := s.shared.writers.Take(ctx, key)
	if err != nil {
		return err
	}
	defer done()
	w, err := s.lock(ctx, key)
	if err != nil {
		return fmt.Errorf("taking the storage's lock for a write: %w", noAnswer(err))
	}
	defer w.unlock(ctx)
	return write(ctx, w)
}

// lock takes a key's lock, which is one of certmagic's. Such a lock may never
// become free: its file is damaged or has a time that is yet to come, or its
// holder died and another process still keeps it fresh, as one does for five
// seconds after it gave back a lock of the same name. So a lock that cannot be
// had gets a new name, which is in the storage and which whoever has taken a
// lock looks at.
//
// Two write at once in one case: a process stands still, between its last look
// at the clock and the write that follows, until another one has given the
// lock up and waited.
func (s *StorageStore) lock(ctx context.Context, key string) (*storageWrite, error) {
	var vain string // a name under which it could not be had
	var cause error
	for {
		w, err := s.lockNamed(ctx, key)
		if err != nil {
			return nil, err
		}
		if w.name == vain {
			if w, err = w.rename(ctx, cause); err != nil {
				return nil, err
			}
		} else if cause = w.obtain(ctx); cause != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			vain = w.name
			continue
		}
		w.locked = time.Now()
		now, err := s.lockNamed(ctx, key)
		if err == nil && now.name == w.name {
			return w, nil
		}
		w.unlock(ctx)
		if err != nil {
			return nil, err
		}
	}
}

// lockNamed returns a write with the name that its lock has now. What is in
// the storage may be anything, as long as it is the same for everybody.
func (s *StorageStore) lockNamed(ctx context.Context, key string) (*storageWrite, error) {
	stored, err := s.storage.Load(ctx, key+lockNameSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return s.newWrite(key, nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading its name: %w", err)
	}
	return s.newWrite(key, stored), nil
}

func (s *StorageStore) newWrite(key string, stored []byte) *storageWrite {
	w := &storageWrite{s: s, key: key, renamed: stored != nil}
	w.name = "truelayer-" + key[strings.LastIndexByte(key, '/')+1:]
	if w.renamed {
		sum := sha256.Sum256(stored)
		w.name += "-" + hex.EncodeToString(sum[:16])
	}
	return w
}

// obtain waits for the lock for as long as those who have it may take.
func (w *storageWrite) obtain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	err := w.s.storage.Lock(ctx, w.name)
	if err != nil && wait(ctx, lockRetry) {
		err = w.s.storage.Lock(ctx, w.name)
	}
	return err
}

// rename gives the lock a name that it never had, and takes it. Who comes now
// waits for that one, and who had the old one has finished when rename returns.
// If several rename it at once, the last one's name is the lock's.
func (w *storageWrite) rename(ctx context.Context, cause error) (*storageWrite, error) {
	text := []byte(rand.Text())
	renamed := w.s.newWrite(w.key, text)
	if err := w.s.storage.Lock(ctx, renamed.name); err != nil {
		return nil, fmt.Errorf("%w; taking it under a new name: %w", cause, err)
	}
	err := w.s.storage.Store(ctx, w.key+lockNameSuffix, text)
	if err != nil {
		err = fmt.Errorf("%w; writing its new name: %w", cause, err)
	} else {
		w.s.logger.Warn("a lock of the storage's was not given back, or is damaged; it has another name now", zap.Error(cause))
		_ = w.s.storage.Unlock(ctx, w.name) // a file system forgets it, and some others do
		if !wait(ctx, renameWait) {
			err = ctx.Err()
		}
	}
	if err != nil { // somebody may have read the name, and must not have the lock so soon
		time.AfterFunc(renameWait, func() { renamed.unlock(ctx) })
		return nil, err
	}
	return renamed, nil
}

func (w *storageWrite) unlock(ctx context.Context) {
	err := w.s.storage.Unlock(context.WithoutCancel(ctx), w.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.s.logger.Warn("giving a storage's lock back failed; the next write waits for it in vain, and goes on", zap.Error(err))
	}
}

// create is Create while nobody else writes.
func (w *storageWrite) create(ctx context.Context, record []byte, ttl time.Duration) error {
	switch _, _, err := w.s.load(ctx, w.key); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return w.store(ctx, record, ttl)
}

// replace is Replace while nobody else writes.
func (w *storageWrite) replace(ctx context.Context, old, record []byte, ttl time.Duration) error {
	found, _, err := w.s.load(ctx, w.key)
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
	if w.late() {
		return errLockLost
	}
	return noAnswer(w.s.storage.Store(ctx, w.key, append(stored, record...)))
}

// remove deletes the record, and then its lock's name if that has another than
// at first. There is nothing left to do then that needed the lock.
func (w *storageWrite) remove(ctx context.Context) error {
	if w.late() {
		return errLockLost
	}
	if err := w.s.storage.Delete(ctx, w.key); err != nil || !w.renamed || w.late() {
		return noAnswer(err) // a name that stays is swept away
	}
	return noAnswer(w.s.storage.Delete(ctx, w.key+lockNameSuffix))
}

func (w *storageWrite) late() bool { return time.Since(w.locked) > lockValid }

// noAnswer returns a failure that does not read like an answer about the
// record: a file system says the same of a folder that is just being removed.
func noAnswer(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return errors.New(err.Error())
	}
	return err
}
