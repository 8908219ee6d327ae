package bench

import (
	"testing"
	"time"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// held is for how long a lock is held that somebody waits for: about what a
// token request takes.
const held = 200 * time.Millisecond

// BenchmarkLock is the time to get a lock that nobody holds, and one that
// another process holds for another 200 ms.
func BenchmarkLock(b *testing.B) {
	for _, s := range shared {
		b.Run(s.name+" free", func(b *testing.B) {
			store := s.start(b)()
			connect(b, store)
			for b.Loop() {
				unlock := lock(b, store, "id")
				b.StopTimer()
				unlock()
				b.StartTimer()
			}
		})
		b.Run(s.name+" held", func(b *testing.B) {
			open := s.start(b)
			holder, waiter := open(), open()
			connect(b, holder)
			connect(b, waiter)
			for b.Loop() {
				b.StopTimer()
				unlock := lock(b, holder, "id")
				released := make(chan struct{})
				time.AfterFunc(held, func() {
					defer close(released)
					unlock()
				})
				b.StartTimer()
				unlock = lock(b, waiter, "id")
				b.StopTimer()
				<-released
				unlock()
				b.StartTimer()
			}
		})
	}
}

func lock(b *testing.B, store truelayer.TokenStore, id string) (unlock func()) {
	b.Helper()
	unlock, err := store.(truelayer.Locker).Lock(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	return unlock
}
