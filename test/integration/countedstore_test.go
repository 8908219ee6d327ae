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

// slowStore is a memory store whose reads take a while.
type slowStore struct{ truelayer.MemoryStore }

var slowStoreDelay atomic.Int64 // a time.Duration

func (*slowStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.slow",
		New: func() caddy.Module { return new(slowStore) },
	}
}

func (s *slowStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return s.MemoryStore.UnmarshalCaddyfile(d)
}

func (s *slowStore) Get(ctx context.Context, id string) ([]byte, error) {
	timer := time.NewTimer(time.Duration(slowStoreDelay.Load()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.MemoryStore.Get(ctx, id)
}
