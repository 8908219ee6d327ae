package browser

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

func init() {
	caddy.RegisterModule(new(failingStore))
}

// failingStore is a memory store that can be made to fail; a third party's
// store would look like it.
type failingStore struct{ truelayer.MemoryStore }

var (
	storeDown    atomic.Bool // every call fails
	storeForgets atomic.Bool // what was written is not there
	errStoreDown = errors.New("the test's store is down")
)

func (*failingStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.failing",
		New: func() caddy.Module { return new(failingStore) },
	}
}

func (s *failingStore) Get(ctx context.Context, id string) ([]byte, error) {
	switch {
	case storeDown.Load():
		return nil, errStoreDown
	case storeForgets.Load():
		return nil, fs.ErrNotExist
	}
	return s.MemoryStore.Get(ctx, id)
}

func (s *failingStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	if storeDown.Load() {
		return errStoreDown
	}
	return s.MemoryStore.Create(ctx, id, record, ttl)
}

func (s *failingStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	if storeDown.Load() {
		return errStoreDown
	}
	return s.MemoryStore.Replace(ctx, id, old, record, ttl)
}

func (s *failingStore) Delete(ctx context.Context, id string) error {
	if storeDown.Load() {
		return errStoreDown
	}
	return s.MemoryStore.Delete(ctx, id)
}
