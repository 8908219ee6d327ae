package bench

import (
	"testing"
	"time"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// BenchmarkWrite is a write by one writer. How fast many of them are together,
// the load command's logins show.
func BenchmarkWrite(b *testing.B) {
	writes := []struct {
		name string
		run  func(*testing.B, truelayer.TokenStore)
	}{
		{"Create", create}, {"Replace", replace}, {"Delete", remove},
	}
	for _, s := range shared {
		for _, write := range writes {
			b.Run(s.name+" "+write.name, func(b *testing.B) {
				store := s.start(b)()
				connect(b, store)
				b.ReportAllocs()
				write.run(b, store)
			})
		}
	}
}

func create(b *testing.B, store truelayer.TokenStore) {
	record := make([]byte, recordSize)
	for b.Loop() {
		if err := store.Create(b.Context(), newID(), record, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}

func replace(b *testing.B, store truelayer.TokenStore) {
	id := fill(b, store, 1, time.Hour)[0]
	old, record := make([]byte, recordSize), make([]byte, recordSize)
	record[0] = 1
	for b.Loop() {
		if err := store.Replace(b.Context(), id, old, record, time.Hour); err != nil {
			b.Fatal(err)
		}
		old, record = record, old
	}
}

func remove(b *testing.B, store truelayer.TokenStore) {
	const batch = 64
	var ids []string
	for b.Loop() {
		if len(ids) == 0 {
			b.StopTimer()
			ids = fill(b, store, batch, time.Hour)
			b.StartTimer()
		}
		if err := store.Delete(b.Context(), ids[0]); err != nil {
			b.Fatal(err)
		}
		ids = ids[1:]
	}
}
