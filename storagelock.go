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
	// lockValid is how long after taking a lock its holder may start a write.
	lockValid = 2 * time.Second
	// renameWait is how long a renamed lock is held before anything is written.
	// A holder of the lock under its old name starts no write after lockValid,
	// and has the same time again to finish one.
	renameWait = 2 * lockValid
	// lockWait is how long to wait for a lock that nobody releases. It is
	// longer than renameWait, since a storage checks its locks once a second.
	lockWait = renameWait + 2*time.Second
	// lockRetryDelay is how long to wait after an error before trying to take a
	// lock again. A lock's file looks damaged while it is being written.
	lockRetryDelay = 250 * time.Millisecond

	// lockNameSuffix ends the storage key under which a lock's name is kept.
	lockNameSuffix = ".lockname"
)

// storageLock is the lock that protects a key in the storage.
type storageLock struct {
	storage certmagic.Storage
	logger  *zap.Logger
	key     string
	name    string
	renamed bool // the name is in the storage
	taken   time.Time
}

// lockStorage takes a key's lock, which is a lock of certmagic. Such a lock may
// never become free. Its file may be damaged or dated in the future. Or its
// holder died, and another process keeps the file fresh: a process does so for
// five seconds after it released a lock of the same name. A lock that cannot be
// taken therefore gets a new name, which is kept in the storage. Whoever has
// taken a lock checks that its name is still the current one.
//
// Two processes write at once only if one of them is paused between its last
// look at the clock and the write, until another one has given up on the lock,
// renamed it and waited for renameWait.
func lockStorage(ctx context.Context, storage certmagic.Storage, key string, logger *zap.Logger) (*storageLock, error) {
	unnamed := &storageLock{storage: storage, logger: logger, key: key}
	var unavailable string // a name whose lock could not be obtained
	var cause error
	for {
		l, err := unnamed.current(ctx)
		if err != nil {
			return nil, err
		}
		if l.name == unavailable {
			if l, err = l.rename(ctx, cause); err != nil {
				return nil, err
			}
		} else if cause = l.obtain(ctx); cause != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			unavailable = l.name
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

// current returns the key's lock with its current name. The name in the storage
// may be any bytes, as long as every process reads the same ones.
func (l *storageLock) current(ctx context.Context) (*storageLock, error) {
	stored, err := l.storage.Load(ctx, l.key+lockNameSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return l.named(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the lock's name: %w", err)
	}
	return l.named(stored), nil
}

// named returns the key's lock with the name that is derived from the stored
// bytes. It is the lock's first name if stored is nil.
func (l *storageLock) named(stored []byte) *storageLock {
	named := &storageLock{storage: l.storage, logger: l.logger, key: l.key, renamed: stored != nil}
	named.name = "truelayer-" + l.key[strings.LastIndexByte(l.key, '/')+1:]
	if named.renamed {
		sum := sha256.Sum256(stored)
		named.name += "-" + hex.EncodeToString(sum[:16])
	}
	return named
}

// obtain takes the lock, and waits for it as long as a holder may need.
func (l *storageLock) obtain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	err := l.storage.Lock(ctx, l.name)
	if err != nil && flight.Sleep(ctx, lockRetryDelay) {
		err = l.storage.Lock(ctx, l.name)
	}
	return err
}

// rename gives the lock a new name, and takes it. Other processes then wait for
// the lock under the new name. When rename returns, a holder of the old name
// has finished. If several processes rename the lock at once, the last name is
// the lock's.
func (l *storageLock) rename(ctx context.Context, cause error) (*storageLock, error) {
	text := []byte(rand.Text())
	renamed := l.named(text)
	if err := l.storage.Lock(ctx, renamed.name); err != nil {
		return nil, fmt.Errorf("%w; taking the lock under a new name: %w", cause, err)
	}
	err := l.storage.Store(ctx, l.key+lockNameSuffix, text)
	if err != nil {
		err = fmt.Errorf("%w; writing the lock's new name: %w", cause, err)
	} else {
		l.logger.Warn("a lock in the storage was not released, or is damaged; it has a new name now", zap.Error(cause))
		_ = l.storage.Unlock(ctx, l.name) // deletes it in a file system and in some other storages
		if !flight.Sleep(ctx, renameWait) {
			err = ctx.Err()
		}
	}
	if err != nil { // another process may know the new name; it has to wait as well
		time.AfterFunc(renameWait, func() { renamed.unlock(ctx) })
		return nil, err
	}
	return renamed, nil
}

func (l *storageLock) unlock(ctx context.Context) {
	err := l.storage.Unlock(context.WithoutCancel(ctx), l.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.logger.Warn("releasing a write lock in the storage failed; the next write is delayed", zap.Error(err))
	}
}

// expired reports whether another process may hold the lock by now.
func (l *storageLock) expired() bool { return time.Since(l.taken) > lockValid }
