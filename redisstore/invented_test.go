package redisstore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// caches are what the process keeps for a store, one for each connection.
type caches struct {
	mu  sync.Mutex
	all []*cache
}

// keeps watches what is kept for a store that has not connected yet.
func keeps(s *Store) *caches {
	c := new(caches)
	s.server.option.NewCacheStoreFn = func(option rueidis.CacheStoreOption) rueidis.CacheStore {
		c.mu.Lock()
		defer c.mu.Unlock()
		kept := newCache(option)
		c.all = append(c.all, kept.(*cache))
		return kept
	}
	return c
}

func (c *caches) entries() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kept := range c.all {
		kept.mu.RLock()
		n += max(len(kept.entries), kept.order.Len())
		kept.mu.RUnlock()
	}
	return n
}

func (c *caches) want(t *testing.T, want int) {
	t.Helper()
	if n := c.entries(); n != want {
		t.Errorf("the process keeps %d entries, want %d", n, want)
	}
}

// asked returns how often a server was asked for what since it was last, as
// its text, without what goes on by itself.
func asked(t *testing.T, redis *redisserver.Server) string {
	t.Helper()
	said := ""
	for _, name := range []string{"get", "set", "del", "exists", "pttl", "eval", "multi", "exec", "client|caching"} {
		stat := redis.Stats("commandstats")["cmdstat_"+name]
		if calls, _, ok := strings.Cut(strings.TrimPrefix(stat, "calls="), ","); ok {
			said += fmt.Sprintf("%s %s ", name, calls)
		}
	}
	redis.Must("+OK", "CONFIG", "RESETSTAT")
	return strings.TrimSpace(said)
}

func wantCommands(t *testing.T, redis *redisserver.Server, what, want string) {
	t.Helper()
	if got := asked(t, redis); got != want {
		t.Errorf("%s: Redis was asked for %q, want %q", what, got, want)
	}
}

func tracked(redis *redisserver.Server) string { return redis.Stats("stats")["tracking_total_keys"] }

// TestInventedIDs: an id that nobody was given costs one plain command each
// time, and leaves nothing in Redis or in the process.
func TestInventedIDs(t *testing.T) {
	for name, cacheSize := range map[string]int{"cached": defaultCacheSize, "without cache": 0} {
		t.Run(name, func(t *testing.T) {
			redis := redisserver.Start(t)
			s := open(t, &Store{Address: []string{redis.Address}, CacheSize: &cacheSize})
			kept := keeps(s)
			asked(t, redis)
			var all sync.WaitGroup
			for visitor := range 10 {
				all.Go(func() {
					for i := range 100 {
						if _, err := s.Get(t.Context(), fmt.Sprintf("%d %d", visitor, i/2)); !errors.Is(err, fs.ErrNotExist) {
							t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
						}
					}
				})
			}
			all.Wait()
			wantCommands(t, redis, "1000 reads", "get 1000")
			kept.want(t, 0)
			if n := tracked(redis); n != "0" {
				t.Errorf("Redis tracks %s keys", n)
			}
			if answer, err := redis.Do("DBSIZE"); err != nil || answer != ":0" {
				t.Errorf("Redis has %s keys, %v", answer, err)
			}
		})
	}
}

// TestKeptRecords: a record that is there is kept from its second read to its
// end, without being asked for again.
func TestKeptRecords(t *testing.T) {
	redis := redisserver.Start(t)
	s := open(t, &Store{Address: []string{redis.Address}})
	kept := keeps(s)
	for id, ttl := range map[string]time.Duration{"deleted": time.Hour, "expires": 2 * time.Second, "replaced": time.Hour} {
		if err := s.Create(t.Context(), id, []byte("record"), ttl); err != nil {
			t.Fatal(err)
		}
		asked(t, redis)
		for range 100 {
			if record, err := s.Get(t.Context(), id); err != nil || string(record) != "record" {
				t.Fatalf("%s: %q, %v", id, record, err)
			}
		}
		wantCommands(t, redis, "100 reads", "get 2 pttl 1 multi 1 exec 1 client|caching 1")
	}
	kept.want(t, 3)
	if n := tracked(redis); n != "3" {
		t.Errorf("Redis tracks %s keys", n)
	}
	other := open(t, &Store{Address: []string{redis.Address}})
	if err := errors.Join(other.Delete(t.Context(), "deleted"),
		other.Replace(t.Context(), "replaced", []byte("record"), []byte("another"), time.Hour)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all three to be forgotten", func() bool { return kept.entries() == 0 && tracked(redis) == "0" })
	for id, want := range map[string]string{"deleted": "", "expires": "", "replaced": "another"} {
		record, err := s.Get(t.Context(), id)
		if string(record) != want || (want == "") != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", id, record, err)
		}
	}
	kept.want(t, 1)
	if n := tracked(redis); n != "0" {
		t.Errorf("Redis tracks %s keys that were read once", n)
	}
	if err := s.Replace(t.Context(), "replaced", []byte("another"), []byte("its own"), time.Hour); err != nil {
		t.Fatal(err)
	}
	asked(t, redis)
	for range 100 {
		if record, err := s.Get(t.Context(), "replaced"); err != nil || string(record) != "its own" {
			t.Fatalf("%q, %v", record, err)
		}
	}
	wantCommands(t, redis, "100 reads of what the process wrote", "get 1 pttl 1 multi 1 exec 1 client|caching 1")
}

// TestLeavingReader: who waits for a record that somebody reads who then
// leaves, gets it all the same.
func TestLeavingReader(t *testing.T) {
	c := newCache(rueidis.CacheStoreOption{CacheSizeEachConn: minCacheSize}).(*cache)
	now := time.Now()
	c.Flight("key", "GET", markExists, now)
	if _, e := c.Flight("key", "GET", time.Minute, now); e != nil {
		t.Fatal("nobody is told to read")
	}
	_, waiting := c.Flight("key", "GET", time.Minute, now)
	c.Cancel("key", "GET", t.Context().Err())
	if _, err := waiting.Wait(t.Context()); !errors.Is(err, rueidis.ErrDoCacheAborted) {
		t.Errorf("got error %v, want %v", err, rueidis.ErrDoCacheAborted)
	}
	if len(c.entries) != 0 || c.size != 0 {
		t.Error("something is kept")
	}
}
