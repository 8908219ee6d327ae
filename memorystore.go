package truelayer

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io/fs"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patrickmn/go-cache"

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

const (
	defaultMaxSessions = 100_000
	// memoryShards is how many caches the records are spread over. A sweep
	// locks a cache while it goes through all of its records. With shards, that
	// blocks a reader for microseconds instead of tens of milliseconds.
	memoryShards  = 512
	sweepInterval = time.Minute
)

// memories holds the one memory that all handlers of the process share. The id
// of a record depends on the settings of its handler, so handlers with
// different settings never share a record. A reload that changes one handler
// does not affect the sessions of the others.
var memories = caddy.NewUsagePool()

const memoryKey = "memory"

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
func (m *MemoryStore) Provision(caddy.Context) error {
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
	return nil
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
	limit := m.MaxSessions
	if session.IsClaim(record) {
		limit = max(limit, defaultMaxSessions)
	}
	if count := m.memory.counter(record); count.Add(1) > int64(limit) {
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

// memory holds the records of all memory stores of the process. Readers use a
// shard's cache directly. Writers lock the shard first, so that a check and the
// write after it are atomic.
type memory struct {
	seed             maphash.Seed
	shards           [memoryShards]memoryShard
	sessions, claims atomic.Int64
	stop             chan struct{}
}

// counter returns the number of records of the same kind. Replace never changes
// the kind of a record.
func (m *memory) counter(record []byte) *atomic.Int64 {
	if session.IsClaim(record) {
		return &m.claims
	}
	return &m.sessions
}

type memoryShard struct {
	writing sync.Mutex
	records *cache.Cache
}

func newMemory() *memory {
	m := &memory{seed: maphash.MakeSeed(), stop: make(chan struct{})}
	for i := range m.shards {
		// without go-cache's janitor, which only the garbage collector stops
		m.shards[i].records = cache.New(cache.NoExpiration, 0)
		m.shards[i].records.OnEvicted(func(_ string, record any) { m.counter(record.([]byte)).Add(-1) })
	}
	go m.sweep()
	return m
}

func (m *memory) shard(id string) *memoryShard {
	return &m.shards[maphash.String(m.seed, id)%memoryShards]
}

// sweep deletes expired records, one shard at a time, spread over the interval.
func (m *memory) sweep() {
	ticker := time.NewTicker(sweepInterval / memoryShards)
	defer ticker.Stop()
	for i := 0; ; i = (i + 1) % memoryShards {
		select {
		case <-ticker.C:
			m.sweepShard(i)
		case <-m.stop:
			return
		}
	}
}

func (m *memory) sweepShard(i int) {
	s := &m.shards[i]
	s.writing.Lock()
	defer s.writing.Unlock()
	s.records.DeleteExpired()
}

// Destruct stops the sweep. Requests that are still running can use the
// records.
func (m *memory) Destruct() error {
	close(m.stop)
	return nil
}

// Interface guards
var (
	_ TokenStore            = (*MemoryStore)(nil)
	_ Lister                = (*MemoryStore)(nil)
	_ caddy.Provisioner     = (*MemoryStore)(nil)
	_ caddy.CleanerUpper    = (*MemoryStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
