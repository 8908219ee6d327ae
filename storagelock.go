package truelayer

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
)

// storageProcesses holds what storage stores with equal settings share in this
// process, over reloads of the configuration.
var storageProcesses = caddy.NewUsagePool()

// storageProcess is a process's part of a storage store: what it remembers of
// the storage, and who of it is writing.
type storageProcess struct {
	cache   *readCache
	writers turns
}

func newStorageProcess(cacheTTL time.Duration) *storageProcess {
	return &storageProcess{cache: newReadCache(cacheTTL)}
}

// Destruct stops what runs by itself. Requests that outlive it are served.
func (p *storageProcess) Destruct() error {
	p.cache.close()
	return nil
}

// storageWrite is a write of one record while nobody else writes it.
type storageWrite struct {
	s      *StorageStore
	id     string
	key    string
	locked time.Time
}

var errLockLost = errors.New("this process stood still for so long that its lock may be another's by now; nothing was written")

// alone runs a write while no other one of the same record runs, in this
// process or in another: a storage can neither compare nor swap. In the
// process they queue for their turn here, since a storage's lock looks only
// once a second whether it is free.
//
// The lock is one of certmagic's, which fails in one case: a process that
// stands still for ten seconds, between its last look at the clock and the
// write that follows, overwrites what another one wrote meanwhile.
func (s *StorageStore) alone(ctx context.Context, id string, write func(context.Context, *storageWrite) error) error {
	key, err := storageKey(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := s.shared.writers.wait(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	unlock, err := s.lock(ctx, "write", id)
	if err != nil {
		return err
	}
	defer unlock()
	w := &storageWrite{s: s, id: id, key: key, locked: time.Now()}
	// also after a failure: the write may have happened, and who lost against
	// another process has to see what that one wrote
	defer s.shared.cache.forget(id)
	return write(ctx, w)
}

func (w *storageWrite) store(ctx context.Context, record []byte, ttl time.Duration) error {
	if err := checkWrite(ctx, ttl); err != nil {
		return err
	}
	if time.Since(w.locked) > lockValid {
		return errLockLost
	}
	stored := make([]byte, 8, 8+len(record))
	binary.BigEndian.PutUint64(stored, uint64(time.Now().Add(ttl).UnixMilli()))
	return w.s.storage.Store(ctx, w.key, append(stored, record...))
}

func (w *storageWrite) remove(ctx context.Context) error {
	return w.s.storage.Delete(ctx, w.key)
}

// Lock implements Locker.
func (s *StorageStore) Lock(ctx context.Context, id string) (unlock func(), err error) {
	if unlock, err = s.lock(ctx, "refresh", id); err == nil {
		s.shared.cache.forget(id)
	}
	return unlock, err
}

// lock takes one of the storage's locks.
func (s *StorageStore) lock(ctx context.Context, purpose, id string) (unlock func(), err error) {
	name := "truelayer-" + purpose + "-" + hex.EncodeToString([]byte(id))
	if err := s.storage.Lock(ctx, name); err != nil {
		return nil, fmt.Errorf("taking the storage's lock for a %s: %w", purpose, err)
	}
	return func() {
		if err := s.storage.Unlock(context.WithoutCancel(ctx), name); err != nil {
			s.logger.Warn("giving a storage's lock back failed; it ends by itself",
				zap.String("purpose", purpose), zap.Error(err))
		}
	}, nil
}

// turns lets one at a time do what concerns an id.
type turns struct {
	mu    sync.Mutex
	taken map[string]*turn
}

type turn struct {
	free    chan struct{} // holds one value while it is nobody's turn
	wanting int           // those who wait, and the one whose turn it is
}

// wait waits for its turn, which ends when done is called, or for the end of
// ctx, whose error it then returns.
func (t *turns) wait(ctx context.Context, id string) (done func(), err error) {
	t.mu.Lock()
	if t.taken == nil {
		t.taken = make(map[string]*turn)
	}
	mine, ok := t.taken[id]
	if !ok {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.taken[id] = mine
	}
	mine.wanting++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wanting--; mine.wanting == 0 {
			delete(t.taken, id)
		}
	}
	select {
	case <-mine.free:
		return func() {
			mine.free <- struct{}{}
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
