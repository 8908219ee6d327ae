package truelayer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
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

// storageLock is the lock of a key in the storage.
type storageLock struct {
	storage certmagic.Storage
	logger  *zap.Logger
	key     string
	name    string
	renamed bool // the name is in the storage
	taken   time.Time
}

// lockStorage takes a key's lock, which is one of certmagic's. Such a lock may
// never become free: its file is damaged or has a time that is yet to come, or
// its holder died and another process still keeps it fresh, as one does for
// five seconds after it gave back a lock of the same name. So a lock that
// cannot be had gets a new name, which is in the storage and which whoever has
// taken a lock looks at.
//
// Two write at once in one case: a process stands still, between its last look
// at the clock and the write that follows, until another one has given the
// lock up and waited.
func lockStorage(ctx context.Context, storage certmagic.Storage, key string, logger *zap.Logger) (*storageLock, error) {
	unnamed := &storageLock{storage: storage, logger: logger, key: key}
	var vain string // a name under which it could not be had
	var cause error
	for {
		l, err := unnamed.current(ctx)
		if err != nil {
			return nil, err
		}
		if l.name == vain {
			if l, err = l.rename(ctx, cause); err != nil {
				return nil, err
			}
		} else if cause = l.obtain(ctx); cause != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			vain = l.name
			continue
		}
		l.taken = time.Now()
		now, err := l.current(ctx)
		if err == nil && now.name == l.name {
			return l, nil
		}
		l.unlock(ctx)
		if err != nil {
			return nil, err
		}
	}
}

// current returns the key's lock with the name that it has now. What is in the
// storage may be anything, as long as it is the same for everybody.
func (l *storageLock) current(ctx context.Context) (*storageLock, error) {
	stored, err := l.storage.Load(ctx, l.key+lockNameSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return l.named(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading its name: %w", err)
	}
	return l.named(stored), nil
}

// named returns the key's lock with the name that follows from what is stored,
// which is nil for the name that every lock has at first.
func (l *storageLock) named(stored []byte) *storageLock {
	named := &storageLock{storage: l.storage, logger: l.logger, key: l.key, renamed: stored != nil}
	named.name = "truelayer-" + l.key[strings.LastIndexByte(l.key, '/')+1:]
	if named.renamed {
		sum := sha256.Sum256(stored)
		named.name += "-" + hex.EncodeToString(sum[:16])
	}
	return named
}

// obtain waits for the lock for as long as those who have it may take.
func (l *storageLock) obtain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	err := l.storage.Lock(ctx, l.name)
	if err != nil && flight.Sleep(ctx, lockRetry) {
		err = l.storage.Lock(ctx, l.name)
	}
	return err
}

// rename gives the lock a name that it never had, and takes it. Who comes now
// waits for that one, and who had the old one has finished when rename returns.
// If several rename it at once, the last one's name is the lock's.
func (l *storageLock) rename(ctx context.Context, cause error) (*storageLock, error) {
	text := []byte(rand.Text())
	renamed := l.named(text)
	if err := l.storage.Lock(ctx, renamed.name); err != nil {
		return nil, fmt.Errorf("%w; taking it under a new name: %w", cause, err)
	}
	err := l.storage.Store(ctx, l.key+lockNameSuffix, text)
	if err != nil {
		err = fmt.Errorf("%w; writing its new name: %w", cause, err)
	} else {
		l.logger.Warn("a lock of the storage's was not given back, or is damaged; it has another name now", zap.Error(cause))
		_ = l.storage.Unlock(ctx, l.name) // a file system forgets it, and some others do
		if !flight.Sleep(ctx, renameWait) {
			err = ctx.Err()
		}
	}
	if err != nil { // somebody may have read the name, and must not have the lock so soon
		time.AfterFunc(renameWait, func() { renamed.unlock(ctx) })
		return nil, err
	}
	return renamed, nil
}

func (l *storageLock) unlock(ctx context.Context) {
	err := l.storage.Unlock(context.WithoutCancel(ctx), l.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.logger.Warn("giving a storage's lock back failed; the next write waits for it in vain, and goes on", zap.Error(err))
	}
}

// late reports whether the lock may be another's by now.
func (l *storageLock) late() bool { return time.Since(l.taken) > lockValid }
