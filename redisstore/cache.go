package redisstore

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// cacheTTL bounds how long the process caches a record. The server says when a
// record changes, but such a message may get lost.
const cacheTTL = time.Minute

// cache holds the records that the process has read over one connection. Unlike
// the library's own cache, it reads only records that are known to exist, and
// has no entries for keys that do not exist.
type cache struct {
	mu      sync.RWMutex
	entries map[string]*entry // by key; nil after Close
	order   list.List         // of the *entry that are not being read, the oldest first
	size    int
	maxSize int
}

// entry is a record that is cached, that is being read, or that is only known to
// exist.
type entry struct {
	key         string
	expires     time.Time     // of the cached answer
	existsUntil time.Time     // how long the record is known to exist
	done        chan struct{} // closed when the read has succeeded or failed
	answer      rueidis.RedisMessage
	err         error
	size        int
	element     *list.Element // in order; nil while the record is being read
	used        atomic.Bool   // since it last came to the front of order
}

// entryOverhead is roughly the size of an entry without its key and its record.
const entryOverhead = 400

// markExists is a special ttl. It makes Flight note that the record exists
// instead of having it read.
const markExists time.Duration = 0

func newCache(option rueidis.CacheStoreOption) rueidis.CacheStore {
	return &cache{entries: make(map[string]*entry), maxSize: option.CacheSizeEachConn}
}

// Flight implements rueidis.CacheStore. If it returns neither a record nor an
// entry to wait for, the library reads the record, and the server tracks the
// key.
func (c *cache) Flight(key, _ string, ttl time.Duration, now time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	c.mu.RLock()
	e := c.entries[key]
	if e != nil && e.element != nil && now.Before(e.expires) {
		defer c.mu.RUnlock()
		if !e.used.Load() {
			e.used.Store(true)
		}
		return e.answer, nil
	}
	c.mu.RUnlock()
	if e == nil && ttl != markExists {
		return rueidis.RedisMessage{}, notCached{}
	}
	return c.begin(key, ttl, now)
}

// begin notes that a record exists, or that it is being read. If another request
// was first, it returns what that one left.
func (c *cache) begin(key string, ttl time.Duration, now time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	switch {
	case c.entries == nil:
		return rueidis.RedisMessage{}, notCached{}
	case e == nil:
	case e.element == nil:
		return rueidis.RedisMessage{}, e
	case now.Before(e.expires):
		return e.answer, nil
	default:
		c.remove(e)
	}
	switch {
	case ttl == markExists:
		c.add(&entry{key: key, existsUntil: now.Add(cacheTTL)})
	case e != nil && now.Before(e.existsUntil):
		c.entries[key] = &entry{key: key, expires: now.Add(ttl), done: make(chan struct{})}
		return rueidis.RedisMessage{}, nil
	}
	return rueidis.RedisMessage{}, notCached{}
}

// Update implements rueidis.CacheStore.
func (c *cache) Update(key, _ string, answer rueidis.RedisMessage) (expires int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil || e.element != nil {
		return 0
	}
	e.answer = answer
	close(e.done)
	if answer.IsNil() { // the record was deleted meanwhile
		delete(c.entries, key)
		return 0
	}
	if e.existsUntil = e.expires; answer.CachePXAT() >= 0 {
		e.existsUntil = time.Now().Add(time.Duration(answer.CachePTTL() * time.Millisecond.Nanoseconds()))
		e.expires = earlier(e.expires, e.existsUntil)
	}
	c.add(e)
	return e.expires.UnixMilli()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// add adds an entry that is not being read.
func (c *cache) add(e *entry) {
	e.size = entryOverhead + len(e.key) + e.answer.CacheSize()
	e.element = c.order.PushBack(e)
	c.entries[e.key] = e
	c.size += e.size
	c.shrink()
}

// shrink removes the oldest entries until the cache fits. It gives an entry that
// was used a second chance.
func (c *cache) shrink() {
	for c.size > c.maxSize {
		oldest := c.order.Front()
		if e := oldest.Value.(*entry); e.used.Swap(false) {
			c.order.MoveToBack(oldest)
		} else {
			c.remove(e)
		}
	}
}

// remove removes an entry that is not being read.
func (c *cache) remove(e *entry) {
	delete(c.entries, e.key)
	c.order.Remove(e.element)
	c.size -= e.size
}

// Cancel implements rueidis.CacheStore. Those who wait are told to ask again. The
// reader's own error, such as a canceled request, does not concern them.
func (c *cache) Cancel(key, _ string, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil && e.element == nil {
		delete(c.entries, key)
		e.fail(rueidis.ErrDoCacheAborted)
	}
}

// Delete implements rueidis.CacheStore. It leaves entries that are being read:
// their answers arrive after the server's message about the change, so they are
// newer.
func (c *cache) Delete(keys []rueidis.RedisMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if keys == nil {
		for _, e := range c.entries {
			if e.element != nil {
				c.remove(e)
			}
		}
		return
	}
	for i := range keys {
		key, err := keys[i].ToString()
		if e := c.entries[key]; err == nil && e != nil && e.element != nil {
			c.remove(e)
		}
	}
}

// Close implements rueidis.CacheStore.
func (c *cache) Close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.element == nil {
			e.fail(err)
		}
	}
	c.entries, c.size = nil, 0
	c.order.Init()
}

func (e *entry) fail(err error) {
	e.err = err
	close(e.done)
}

// Wait implements rueidis.CacheEntry.
func (e *entry) Wait(ctx context.Context) (rueidis.RedisMessage, error) {
	select {
	case <-e.done:
		return e.answer, e.err
	case <-ctx.Done():
		return rueidis.RedisMessage{}, ctx.Err()
	}
}

// notCached stands for a record that is neither cached nor known to exist. Its
// Wait returns rueidis.Nil, and Store.read then sends a plain command.
type notCached struct{}

// Wait implements rueidis.CacheEntry.
func (notCached) Wait(context.Context) (rueidis.RedisMessage, error) {
	return rueidis.RedisMessage{}, rueidis.Nil
}

// Interface guards
var (
	_ rueidis.CacheStore = (*cache)(nil)
	_ rueidis.CacheEntry = (*entry)(nil)
	_ rueidis.CacheEntry = notCached{}
)
