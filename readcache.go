package truelayer

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/patrickmn/go-cache"
)

// readCache caches the records of a store that other processes write too. It
// returns a record for at most ttl after the read of the store began. A read that
// began before a call of forget leaves nothing in the cache.
type readCache struct {
	ttl     time.Duration // 0 turns the cache off
	records *cache.Cache
	seed    maphash.Seed
	parts   [64]cachePart
	stop    chan struct{}
}

// cachePart counts the calls of forget for a part of the ids.
type cachePart struct {
	mu         sync.Mutex
	generation uint64
}

func newReadCache(ttl time.Duration) *readCache {
	c := &readCache{ttl: ttl, seed: maphash.MakeSeed(), stop: make(chan struct{})}
	if ttl > 0 {
		c.records = cache.New(ttl, 0) // without go-cache's janitor, which only the garbage collector stops
		go c.sweep()
	}
	return c
}

func (c *readCache) part(id string) *cachePart {
	return &c.parts[maphash.String(c.seed, id)%uint64(len(c.parts))]
}

func (c *readCache) get(id string) ([]byte, bool) {
	if c.ttl == 0 {
		return nil, false
	}
	record, ok := c.records.Get(id)
	if !ok {
		return nil, false
	}
	return record.([]byte), true
}

// readStart is the state of the cache when a read of the store began.
type readStart struct {
	at         time.Time
	generation uint64
}

// startRead is called before a read of the store. Its result goes to keep.
func (c *readCache) startRead(id string) readStart {
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	return readStart{time.Now(), p.generation}
}

// keep caches a record that was read, unless forget was called meanwhile: the
// record may then be older than a write.
func (c *readCache) keep(id string, record []byte, expires time.Time, start readStart) {
	ttl := min(c.ttl-time.Since(start.at), time.Until(expires))
	if ttl <= 0 {
		return
	}
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.generation == start.generation {
		c.records.Set(id, record, ttl)
	}
}

// forget drops a record. It is called after a write, and whenever the next read
// must not come from the cache.
func (c *readCache) forget(id string) {
	if c.ttl == 0 {
		return
	}
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.generation++
	c.records.Delete(id)
}

// sweep deletes expired records.
func (c *readCache) sweep() {
	ticker := time.NewTicker(max(c.ttl, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.records.DeleteExpired()
		case <-c.stop:
			return
		}
	}
}

func (c *readCache) close() { close(c.stop) }
