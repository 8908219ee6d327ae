package truelayer

import (
	"context"
	"sync"
	"time"

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

// turns lets one at a time do what concerns a key.
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
