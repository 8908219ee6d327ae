package truelayer

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/patrickmn/go-cache"
)

// readCache remembers for a short while what was read from a store that other
// processes write too. A record in it is at most ttl older than the read
// that brought it, and never older than what was forgotten since.
type readCache struct {
	ttl     time.Duration // 0 remembers nothing
	records *cache.Cache
	seed    maphash.Seed
	parts   [64]cachePart
	stop    chan struct{}
}

// cachePart counts what was forgotten among a part of the ids.
type cachePart struct {
	mu        sync.Mutex
	forgotten uint64
}

func newReadCache(ttl time.Duration) *readCache {
	c := &readCache{ttl: ttl, seed: maphash.MakeSeed(), stop: make(chan struct{})}
	if ttl > 0 {
		c.records = cache.New(ttl, 0) // no janitor of its own: only the garbage collector stops it
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

// readStart is when, and after which writes, a read began.
type readStart struct {
	at        time.Time
	forgotten uint64
}

// look is called before a read whose result is to be kept.
func (c *readCache) look(id string) readStart {
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	return readStart{time.Now(), p.forgotten}
}

// keep remembers what was read, unless it may be older than a write.
func (c *readCache) keep(id string, record []byte, expires time.Time, seen readStart) {
	ttl := min(c.ttl-time.Since(seen.at), time.Until(expires))
	if ttl <= 0 {
		return
	}
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forgotten == seen.forgotten {
		c.records.Set(id, record, ttl)
	}
}

// forget is called after a write, and whenever the next read has to be fresh.
func (c *readCache) forget(id string) {
	if c.ttl == 0 {
		return
	}
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgotten++
	c.records.Delete(id)
}

// sweep drops what is too old to be answered with.
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
