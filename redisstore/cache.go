package redisstore

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// cache is what the process keeps of the records that it reads over one
// connection. Unlike the library's own it has only records read that are known
// to exist, and keeps nothing of a key that there is not.
type cache struct {
	mu      sync.RWMutex
	entries map[string]*entry // by key; nil when the connection is gone
	kept    list.List         // of the *entry that are not being read, the oldest first
	size    int
	max     int
}

// entry is a record that the process keeps, one that is being read, or one that
// is known to exist.
type entry struct {
	key     string
	expires time.Time     // of what is kept
	exists  time.Time     // until when the record is known to
	read    chan struct{} // closed when the answer, or none, has come
	answer  rueidis.RedisMessage
	err     error
	size    int
	place   *list.Element // in kept; nil while the record is being read
	used    atomic.Bool   // since it was the oldest last
}

// entryOverhead is about what an entry occupies beside its key and its record.
const entryOverhead = 400

// note, as a ttl, reads nothing: it says that the record exists.
const note time.Duration = 0

func newCache(option rueidis.CacheStoreOption) rueidis.CacheStore {
	return &cache{entries: make(map[string]*entry), max: option.CacheSizeEachConn}
}

// Flight implements rueidis.CacheStore. If it returns neither a record nor an
// entry to wait for, the library reads the record and the server tracks it.
func (c *cache) Flight(key, _ string, ttl time.Duration, now time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	c.mu.RLock()
	e := c.entries[key]
	if e != nil && e.place != nil && now.Before(e.expires) {
		defer c.mu.RUnlock()
		if !e.used.Load() {
			e.used.Store(true)
		}
		return e.answer, nil
	}
	c.mu.RUnlock()
	if e == nil && ttl != note {
		return rueidis.RedisMessage{}, unknown{}
	}
	return c.begin(key, ttl, now)
}

// begin notes that a record exists or that it is being read, unless another
// request was first.
func (c *cache) begin(key string, ttl time.Duration, now time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	switch {
	case c.entries == nil:
		return rueidis.RedisMessage{}, unknown{}
	case e == nil:
	case e.place == nil:
		return rueidis.RedisMessage{}, e
	case now.Before(e.expires):
		return e.answer, nil
	default:
		c.remove(e)
	}
	switch {
	case ttl == note:
		c.keep(&entry{key: key, exists: now.Add(cacheTTL)})
	case e != nil && now.Before(e.exists):
		c.entries[key] = &entry{key: key, expires: now.Add(ttl), read: make(chan struct{})}
		return rueidis.RedisMessage{}, nil
	}
	return rueidis.RedisMessage{}, unknown{}
}

// Update implements rueidis.CacheStore.
func (c *cache) Update(key, _ string, answer rueidis.RedisMessage) (expires int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil || e.place != nil {
		return 0
	}
	e.answer = answer
	close(e.read)
	if answer.IsNil() { // it went since it was known to exist
		delete(c.entries, key)
		return 0
	}
	if e.exists = e.expires; answer.CachePXAT() >= 0 {
		e.exists = time.Now().Add(time.Duration(answer.CachePTTL() * time.Millisecond.Nanoseconds()))
		e.expires = earlier(e.expires, e.exists)
	}
	c.keep(e)
	return e.expires.UnixMilli()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// keep adds an entry that is not being read.
func (c *cache) keep(e *entry) {
	e.size = entryOverhead + len(e.key) + e.answer.CacheSize()
	e.place = c.kept.PushBack(e)
	c.entries[e.key] = e
	c.size += e.size
	c.shrink()
}

// shrink forgets the oldest entries that were not used lately.
func (c *cache) shrink() {
	for c.size > c.max {
		oldest := c.kept.Front()
		if e := oldest.Value.(*entry); e.used.Swap(false) {
			c.kept.MoveToBack(oldest)
		} else {
			c.remove(e)
		}
	}
}

// remove forgets an entry that is not being read.
func (c *cache) remove(e *entry) {
	delete(c.entries, e.key)
	c.kept.Remove(e.place)
	c.size -= e.size
}

// Cancel implements rueidis.CacheStore. Who waits is told to ask again: why the
// reader gave up, such as a client that has left, is no answer for them.
func (c *cache) Cancel(key, _ string, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil && e.place == nil {
		delete(c.entries, key)
		e.fail(rueidis.ErrDoCacheAborted)
	}
}

// Delete implements rueidis.CacheStore. What is being read stays: its answer
// comes behind the message that this is about, and is newer.
func (c *cache) Delete(keys []rueidis.RedisMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if keys == nil {
		for _, e := range c.entries {
			if e.place != nil {
				c.remove(e)
			}
		}
		return
	}
	for i := range keys {
		key, err := keys[i].ToString()
		if e := c.entries[key]; err == nil && e != nil && e.place != nil {
			c.remove(e)
		}
	}
}

// Close implements rueidis.CacheStore.
func (c *cache) Close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.place == nil {
			e.fail(err)
		}
	}
	c.entries, c.size = nil, 0
	c.kept.Init()
}

func (e *entry) fail(err error) {
	e.err = err
	close(e.read)
}

// Wait implements rueidis.CacheEntry.
func (e *entry) Wait(ctx context.Context) (rueidis.RedisMessage, error) {
	select {
	case <-e.read:
		return e.answer, e.err
	case <-ctx.Done():
		return rueidis.RedisMessage{}, ctx.Err()
	}
}

// unknown is what there is of a record that is not known to exist.
type unknown struct{}

// Wait implements rueidis.CacheEntry.
func (unknown) Wait(context.Context) (rueidis.RedisMessage, error) {
	return rueidis.RedisMessage{}, rueidis.Nil
}

// Interface guards
var (
	_ rueidis.CacheStore = (*cache)(nil)
	_ rueidis.CacheEntry = (*entry)(nil)
	_ rueidis.CacheEntry = unknown{}
)
