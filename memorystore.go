package truelayer

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

func init() {
	caddy.RegisterModule(new(MemoryStore))
}

// MemoryStore keeps sessions in the memory of the Caddy process. They survive
// a reload of the configuration, but not a restart. Several instances of Caddy
// do not share them.
type MemoryStore struct {
	// The largest number of sessions, for all sites of the process together.
	// When it is reached, a new login is answered with status 503 before its
	// code is spent. Nobody who is signed in is signed out. The small records
	// that mark a code as used, for half an hour, are counted separately. Their
	// limit is the same number, but at least 100000. Default: 100000.
	MaxSessions int `json:"max_sessions,omitempty"`

	memory     *memory
	referenced bool // in memories, until Cleanup
}

// CaddyModule returns the Caddy module information.
func (*MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.memory",
		New: func() caddy.Module { return new(MemoryStore) },
	}
}

// UnmarshalCaddyfile sets the store up from Caddyfile tokens. Syntax:
//
//	store memory {
//		max_sessions <number>
//	}
func (m *MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		return d.Err("store memory takes a block, nothing else on its line")
	}
	return m.options().Read(d, "store memory")
}

func (m *MemoryStore) options() block.Options {
	return block.Options{
		{Name: "max_sessions", Syntax: "<number>", Value: block.Number(&m.MaxSessions, 1, defaultMaxSessions)},
	}
}

// Provision connects the store to the memory that the process shares.
func (m *MemoryStore) Provision(ctx caddy.Context) error {
	options := m.options()
	options.SetDefaults()
	if err := options.Check(); err != nil {
		return fmt.Errorf("store memory: %w", err)
	}
	value, _, err := memories.LoadOrNew(memoryKey, func() (caddy.Destructor, error) { return newMemory(), nil })
	if err != nil {
		return err
	}
	m.memory, m.referenced = value.(*memory), true
	return registerMemoryUse(ctx.GetMetricsRegistry(), m.memory, m.MaxSessions)
}

// Cleanup releases the shared memory. The store still works afterwards.
func (m *MemoryStore) Cleanup() error {
	if !m.referenced {
		return nil
	}
	m.referenced = false
	_, err := memories.Delete(memoryKey)
	return err
}

// Get implements TokenStore.
func (m *MemoryStore) Get(_ context.Context, id string) ([]byte, error) {
	if record, ok := m.memory.shard(id).records.Get(id); ok {
		return record.([]byte), nil
	}
	return nil, fs.ErrNotExist
}

// Create implements TokenStore.
func (m *MemoryStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	if err := checkWrite(ctx, ttl); err != nil {
		return err
	}
	s := m.memory.shard(id)
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, taken := s.records.Get(id); taken {
		return fs.ErrExist
	}
	s.records.Delete(id) // an expired record counts until it is swept
	limit := int64(m.MaxSessions)
	if session.IsClaim(record) {
		limit = claimLimit(limit)
	}
	if count := m.memory.counter(record); count.Add(1) > limit {
		count.Add(-1)
		return ErrFull
	}
	s.records.Set(id, record, ttl)
	return nil
}

// Replace implements TokenStore.
func (m *MemoryStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	if err := checkWrite(ctx, ttl); err != nil {
		return err
	}
	s := m.memory.shard(id)
	s.writing.Lock()
	defer s.writing.Unlock()
	found, ok := s.records.Get(id)
	if !ok {
		return fs.ErrNotExist
	}
	if !bytes.Equal(found.([]byte), old) {
		return ErrConflict
	}
	s.records.Set(id, record, ttl)
	return nil
}

// Delete implements TokenStore.
func (m *MemoryStore) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.memory.shard(id)
	s.writing.Lock()
	defer s.writing.Unlock()
	s.records.Delete(id)
	return nil
}

// List implements Lister. A page consists of whole shards, and the cursor is
// the number of the next shard.
func (m *MemoryStore) List(_ context.Context, cursor string, limit int) (ids []string, next string, err error) {
	shard := 0
	if cursor != "" {
		if shard, err = strconv.Atoi(cursor); err != nil || shard < 0 {
			return nil, "", fmt.Errorf("listing sessions: %q is not a cursor of this store", cursor)
		}
	}
	for ; shard < memoryShards; shard++ {
		if len(ids) >= limit && len(ids) > 0 {
			return ids, strconv.Itoa(shard), nil
		}
		for id := range m.memory.shards[shard].records.Items() {
			ids = append(ids, id)
		}
	}
	return ids, "", nil
}

// Interface guards
var (
	_ TokenStore            = (*MemoryStore)(nil)
	_ Lister                = (*MemoryStore)(nil)
	_ caddy.Provisioner     = (*MemoryStore)(nil)
	_ caddy.CleanerUpper    = (*MemoryStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
