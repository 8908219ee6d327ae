package bench

import (
	"crypto/rand"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// recordSize is that of a session's record with a token of 1.5 KB.
const recordSize = 1800

// BenchmarkMemoryStore is a Get of a record picked at random.
func BenchmarkMemoryStore(b *testing.B) {
	sizes := []int{1_000, 100_000}
	// a million take two seconds to make, too long for a look at whether
	// everything still works
	if !strings.HasSuffix(flag.Lookup("test.benchtime").Value.String(), "x") {
		sizes = append(sizes, 1_000_000)
	}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("Get of %d", size), func(b *testing.B) {
			store, ids := fill(b, size)
			turn := 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := store.Get(b.Context(), ids[turn]); err != nil {
					b.Fatal(err)
				}
				if turn++; turn == len(ids) {
					turn = 0
				}
			}
		})
	}
}

// fill returns a store with that many records and their ids in random order.
func fill(b *testing.B, size int) (*truelayer.MemoryStore, []string) {
	b.Helper()
	store := &truelayer.MemoryStore{MaxSessions: size}
	if err := store.Provision(caddy.Context{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Cleanup() })
	ids := make([]string, size)
	for i := range ids {
		var id [32]byte
		_, _ = rand.Read(id[:])
		ids[i] = string(id[:])
		if err := store.Create(b.Context(), ids[i], make([]byte, recordSize), time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	mathrand.Shuffle(size, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] }) //nolint:gosec // random, not secret
	return store, ids
}
