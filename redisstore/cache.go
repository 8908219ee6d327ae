package redisstore

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// cache is what the process keeps of the records that it has read over one
// connection. Unlike the library's own it can be asked what it has without
// anything being sent, and it keeps nothing of a key that there is not.
type cache struct {
	mu      sync.RWMutex
	entries map[string]*entry // by key; nil when the connection is gone
	kept    list.List         // of the *entry that have a record, the oldest first
	size    int
	max     int
}

// entry is a record, or one that is being read.
type entry struct {
	key     string
	expires time.Time
	read    chan struct{} // closed when the answer, or none, has come
	answer  rueidis.RedisMessage
	err     error
	size    int
	place   *list.Element // in kept; nil while the record is being read
	used    atomic.Bool   // since it was the oldest last
}

// entryOverhead is about what an entry occupies beside its key and its record.
const entryOverhead = 400

// atHand, as a ttl, asks for what is in the process and for nothing else.
const atHand time.Duration = 0

func newCache(option rueidis.CacheStoreOption) rueidis.CacheStore {
	return &cache{entries: make(map[string]*entry), max: option.CacheSizeEachConn}
}

// Flight implements rueidis.CacheStore. If it returns neither a record nor an
// entry to wait for, the library reads the record.
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
	pending := e != nil && e.place == nil
	c.mu.RUnlock()
	switch {
	case pending:
		return rueidis.RedisMessage{}, e
	case ttl == atHand:
		return rueidis.RedisMessage{}, nothing{}
	}
	return c.begin(key, now.Add(ttl), now)
}

// begin notes that a record is being read, unless another request was first.
func (c *cache) begin(key string, expires, now time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := c.entries[key]; {
	case c.entries == nil:
		return rueidis.RedisMessage{}, nil
	case e == nil:
	case e.place == nil:
		return rueidis.RedisMessage{}, e
	case now.Before(e.expires):
		return e.answer, nil
	default:
		c.remove(e)
	}
	c.entries[key] = &entry{key: key, expires: expires, read: make(chan struct{})}
	return rueidis.RedisMessage{}, nil
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
	if answer.IsNil() { // it went while it was asked for
		delete(c.entries, key)
		return 0
	}
	e.size = entryOverhead + len(key) + answer.CacheSize()
	e.place = c.kept.PushBack(e)
	c.size += e.size
	c.shrink()
	return e.expires.UnixMilli()
}

// shrink forgets the oldest records that were not used lately.
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

// remove forgets a record.
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

// nothing is what the process has of a record that it has not.
type nothing struct{}

// Wait implements rueidis.CacheEntry.
func (nothing) Wait(context.Context) (rueidis.RedisMessage, error) {
	return rueidis.RedisMessage{}, rueidis.Nil
}

// Interface guards
var (
	_ rueidis.CacheStore = (*cache)(nil)
	_ rueidis.CacheEntry = (*entry)(nil)
	_ rueidis.CacheEntry = nothing{}
)
