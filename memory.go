package truelayer

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patrickmn/go-cache"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

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

// claimLimit returns the largest number of claims for a largest number of sessions.
func claimLimit(sessions int64) int64 { return max(sessions, defaultMaxSessions) }
