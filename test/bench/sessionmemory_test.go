package bench

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// BenchmarkSessionMemory is what a login leaves in memory: the session, the
// record by which its code is used once only, which lasts for half an hour,
// and for a minute its result, for a browser that asks again. Only many have a
// meaningful average, and only the bytes count: the time is the simulated
// provider's as well.
//
//	go test -run='^$' -bench=SessionMemory -benchtime=100000x ./test/bench
func BenchmarkSessionMemory(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		// twice what is needed: each login takes two records
		h := newHandler(b, MemoryStore(4*b.N), "")
		before := heap()
		for range b.N {
			h.signIn(b)
		}
		h.provider.Close() // what it remembers is not ours
		b.ReportMetric(float64(heap()-before)/float64(b.N), "B/session")
		runtime.KeepAlive(h)
	})
	b.Run("redis", func(b *testing.B) {
		redis := redisserver.Start(b)
		h := newHandler(b, json.RawMessage(fmt.Sprintf(`{"type": "redis", "address": [%q]}`, redis.Address)), "")
		h.signIn(b) // connects
		before := usedMemory(b, redis)
		for range b.N {
			h.signIn(b)
		}
		b.ReportMetric(float64(usedMemory(b, redis)-before)/float64(b.N), "B/session")
	})
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the first one leaves what was in a sync.Pool
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc) //nolint:gosec // no machine has so much
}

// usedMemory is how many bytes a Redis uses.
func usedMemory(b *testing.B, redis *redisserver.Server) int64 {
	b.Helper()
	bytes, err := strconv.ParseInt(redis.Stats("memory")["used_memory"], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}
