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
// a reload of the configuration, but neither a restart nor a second instance.
type MemoryStore struct {
	// How many sessions are kept at most, of all sites of the process together.
	// When the limit is reached new logins are answered with status 503, with
	// their codes unspent; nobody who is signed in is thrown out. The small records
	// which say, for half an hour, that a code has been used are not counted; they
	// have a limit of their own, the same number or 100000 if that is more.
	// Default: 100000.
	MaxSessions int `json:"max_sessions,omitempty"`

	memory *memory
	taken  bool // a share of memory that Cleanup has to give back
}

const (
	defaultMaxSessions = 100_000
	// memoryShards divides the records so that a sweep, which holds a lock for
	// as long as it takes to look at all of a cache, stalls a reader for a
	// few microseconds instead of tens of milliseconds.
	memoryShards  = 512
	sweepInterval = time.Minute
)

// memories holds the one memory that all handlers of the process share. A
// record's id depends on its handler's settings, so they do not meet in it,
// and a reload that changes a setting leaves the others' sessions alone.
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

// Provision takes a share of the process's memory store.
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
	m.memory, m.taken = value.(*memory), true
	return nil
}

// Cleanup gives the share back. The store goes on answering.
func (m *MemoryStore) Cleanup() error {
	if !m.taken {
		return nil
	}
	m.taken = false
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
	s.records.Delete(id) // an expired one that was not swept yet is counted
	most := m.MaxSessions
	if session.IsClaim(record) {
		most = max(most, defaultMaxSessions)
	}
	if count := m.memory.count(record); count.Add(1) > int64(most) {
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

// List implements Lister, a shard or more at a time. The cursor is the number
// of the next shard.
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

// memory is the records of all memory stores of the process. Readers go
// straight to a shard's cache; writers take the shard's lock first, which
// makes a look and the write that follows it one step.
type memory struct {
	seed             maphash.Seed
	shards           [memoryShards]memoryShard
	sessions, claims atomic.Int64
	stop             chan struct{}
}

// count is the number of records of a record's kind. A Replace does not change
// the kind.
func (m *memory) count(record []byte) *atomic.Int64 {
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
		// no janitor of go-cache's own: only the garbage collector stops it
		m.shards[i].records = cache.New(cache.NoExpiration, 0)
		m.shards[i].records.OnEvicted(func(_ string, record any) { m.count(record.([]byte)).Add(-1) })
	}
	go m.sweep()
	return m
}

func (m *memory) shard(id string) *memoryShard {
	return &m.shards[maphash.String(m.seed, id)%memoryShards]
}

// sweep drops expired records, shard by shard, spread over the interval.
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

// Destruct stops the sweep. The records stay until the last request that still
// holds the memory is done.
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
