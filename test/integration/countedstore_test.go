package integration

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

func init() {
	caddy.RegisterModule(new(countedStore))
	caddy.RegisterModule(new(slowStore))
}

// countedStore is a memory store that counts what is asked of it.
type countedStore struct{ truelayer.MemoryStore }

var storeGets, storeCreates atomic.Int64

func (*countedStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.counted",
		New: func() caddy.Module { return new(countedStore) },
	}
}

func (s *countedStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return s.MemoryStore.UnmarshalCaddyfile(d)
}

func (s *countedStore) Get(ctx context.Context, id string) ([]byte, error) {
	storeGets.Add(1)
	return s.MemoryStore.Get(ctx, id)
}

func (s *countedStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	storeCreates.Add(1)
	return s.MemoryStore.Create(ctx, id, record, ttl)
}

func startCounted(t *testing.T) *world {
	t.Helper()
	return start(t, plain, func(w *world) { w.Options = "store counted" })
}

// slowStore is a memory store that takes a while, and whose locks may fail.
type slowStore struct{ truelayer.MemoryStore }

var (
	slowStoreDelay atomic.Int64 // a time.Duration
	lockFails      atomic.Bool
)

func (*slowStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.slow",
		New: func() caddy.Module { return new(slowStore) },
	}
}

func (s *slowStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return s.MemoryStore.UnmarshalCaddyfile(d)
}

func slowly(ctx context.Context) error {
	timer := time.NewTimer(time.Duration(slowStoreDelay.Load()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowStore) Get(ctx context.Context, id string) ([]byte, error) {
	if err := slowly(ctx); err != nil {
		return nil, err
	}
	return s.MemoryStore.Get(ctx, id)
}

func (s *slowStore) Delete(ctx context.Context, id string) error {
	if err := slowly(ctx); err != nil {
		return err
	}
	return s.MemoryStore.Delete(ctx, id)
}

func (s *slowStore) Lock(context.Context, string) (func(), error) {
	if lockFails.Load() {
		return nil, errStoreDown
	}
	return func() {}, nil
}

// slow makes the store take a while until the test's end.
func slow(t *testing.T, d time.Duration) {
	t.Helper()
	slowStoreDelay.Store(int64(d))
	t.Cleanup(func() { slowStoreDelay.Store(0) })
}
