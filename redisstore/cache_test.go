package redisstore

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// value is an answer of the server's; only the library makes them.
func value(t *testing.T, text string) (m rueidis.RedisMessage) {
	t.Helper()
	b := binary.BigEndian.AppendUint64(append(make([]byte, 7), '$'), uint64(len(text)))
	if err := m.CacheUnmarshalView(append(b, text...)); err != nil {
		t.Fatal(err)
	}
	return m
}

func textOf(t *testing.T, m rueidis.RedisMessage) string {
	t.Helper()
	got, err := m.ToString()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// fill keeps a record as a read of it does.
func fill(t *testing.T, c *cache, key string, ttl time.Duration, now time.Time) {
	t.Helper()
	c.Flight(key, "GET", markExists, now)
	c.Flight(key, "GET", ttl, now)
	c.Update(key, "GET", value(t, "record of "+key))
}

// has reports whether a record is at hand.
func has(t *testing.T, c *cache, key string, now time.Time) bool {
	t.Helper()
	c.mu.RLock()
	e := c.entries[key]
	c.mu.RUnlock()
	if e == nil || e.element == nil || !now.Before(e.expires) {
		return false
	}
	m, _ := c.Flight(key, "GET", time.Minute, now)
	if got := textOf(t, m); got != "record of "+key {
		t.Errorf("%s: %q", key, got)
	}
	return true
}

// TestCacheSize: the oldest records make room, but not those that are in use.
func TestCacheSize(t *testing.T) {
	now := time.Now()
	c := newCache(rueidis.CacheStoreOption{CacheSizeEachConn: 10_000}).(*cache)
	fill(t, c, "used", time.Minute, now)
	for i := range 1000 {
		if !has(t, c, "used", now) {
			t.Fatalf("gone after %d others", i)
		}
		fill(t, c, fmt.Sprint(i), time.Minute, now)
		if c.size > c.maxSize || len(c.entries) != c.order.Len() || c.size < entryOverhead*len(c.entries) {
			t.Fatalf("%d bytes of %d entries, %d in line", c.size, len(c.entries), c.order.Len())
		}
	}
	if has(t, c, "0", now) || !has(t, c, "999", now) || len(c.entries) < 10 {
		t.Errorf("%d entries are there, and not the latest", len(c.entries))
	}
	large := strings.Repeat("x", 2*c.maxSize)
	fill(t, c, large, time.Minute, now)
	if c.size > c.maxSize || has(t, c, large, now) {
		t.Errorf("%d bytes with a record that is too large", c.size)
	}
}

// TestCacheEnds: what ends a record, and what is asked for meanwhile.
func TestCacheEnds(t *testing.T) {
	now := time.Now()
	c := newCache(rueidis.CacheStoreOption{CacheSizeEachConn: minCacheSize}).(*cache)
	for _, key := range []string{"expires", "told", "stays"} {
		fill(t, c, key, time.Minute, now)
	}
	later := now.Add(time.Minute)
	if has(t, c, "expires", later) || !has(t, c, "expires", now) {
		t.Error("a record does not end with its ttl")
	}
	if _, e := c.Flight("stays", "GET", time.Minute, now.Add(time.Hour)); e != (notCached{}) {
		t.Error("a record that nobody asked for in an hour is known to exist")
	}
	fill(t, c, "stays", time.Minute, now)
	c.Flight("expires", "GET", markExists, later)
	if m, e := c.Flight("expires", "GET", time.Minute, later); e != nil || m.IsString() {
		t.Error("nobody is told to read what is known to exist")
	}
	c.Delete([]rueidis.RedisMessage{value(t, "told"), value(t, "expires"), value(t, "unknown")})
	if has(t, c, "told", now) || !has(t, c, "stays", now) {
		t.Error("the wrong record went")
	}
	_, waiting := c.Flight("expires", "GET", time.Minute, later)
	c.Update("expires", "GET", value(t, "record of expires"))
	if m, err := waiting.Wait(t.Context()); err != nil || textOf(t, m) != "record of expires" {
		t.Errorf("what was read did not reach who waited: %v", err)
	}
	c.Update("stays", "GET", value(t, "an answer that nobody waits for"))
	if !has(t, c, "stays", now) || !has(t, c, "expires", later) {
		t.Error("a record is gone")
	}
	c.Delete(nil)
	if len(c.entries) != 0 || c.size != 0 || c.order.Len() != 0 {
		t.Errorf("%d entries of %d bytes are left", len(c.entries), c.size)
	}
	c.Flight("pending", "GET", markExists, now)
	c.Flight("pending", "GET", time.Minute, now)
	_, waiting = c.Flight("pending", "GET", time.Minute, now)
	c.Close(rueidis.ErrDoCacheAborted)
	if _, err := waiting.Wait(t.Context()); err != rueidis.ErrDoCacheAborted { //nolint:errorlint // the library compares so
		t.Errorf("got error %v", err)
	}
	for _, ttl := range []time.Duration{time.Minute, markExists} {
		if _, e := c.Flight("pending", "GET", ttl, now); e != (notCached{}) || len(c.entries) != 0 {
			t.Error("something is kept for a connection that is gone")
		}
	}
	c.Update("pending", "GET", value(t, "late"))
	c.Cancel("pending", "GET", nil)
	c.Delete(nil)
}
