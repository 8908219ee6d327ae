package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"testing"
	"time"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// BenchmarkGet is a Get of a record that the process has: of the memory store
// one of many picked at random, of the others one that was read a moment ago.
func BenchmarkGet(b *testing.B) {
	sizes := []int{1_000, 100_000}
	if !isBrief() { // a million take two seconds to make
		sizes = append(sizes, 1_000_000)
	}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("memory of %d", size), func(b *testing.B) {
			store := openIn(b)(string(MemoryStore(size)))
			ids := fill(b, store, size, time.Hour)
			mathrand.Shuffle(size, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] }) //nolint:gosec // random, not secret
			readInTurn(b, store, ids)
		})
	}
	for _, s := range shared {
		b.Run(s.name, func(b *testing.B) {
			store := s.start(b)()
			ids := fill(b, store, visitors, time.Hour)
			for range 2 { // store redis keeps what is read twice
				for _, id := range ids {
					get(b, store, id)
				}
			}
			readInTurn(b, store, ids)
		})
	}
}

func readInTurn(b *testing.B, store truelayer.TokenStore, ids []string) {
	b.Helper()
	turn := 0
	b.ReportAllocs()
	for b.Loop() {
		get(b, store, ids[turn])
		if turn++; turn == len(ids) {
			turn = 0
		}
	}
}

func get(b *testing.B, store truelayer.TokenStore, id string) {
	if _, err := store.Get(b.Context(), id); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkFirstGet is a Get of a record that the process has never read. The
// storage's files are in the kernel's memory.
func BenchmarkFirstGet(b *testing.B) {
	for _, s := range shared {
		b.Run(s.name, func(b *testing.B) {
			open := s.start(b)
			ids := fill(b, open(), visitors, time.Hour)
			var reader truelayer.TokenStore
			turn := len(ids)
			b.ReportAllocs()
			for b.Loop() {
				if turn == len(ids) { // this one has read them all
					b.StopTimer()
					reader, turn = open(), 0
					connect(b, reader)
					b.StartTimer()
				}
				get(b, reader, ids[turn])
				turn++
			}
		})
	}
}

// connect makes a store's connection, which its first use does otherwise.
func connect(b *testing.B, store truelayer.TokenStore) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if _, err := store.Get(ctx, newID()); !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
}
