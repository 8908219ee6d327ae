package truelayer

import (
	"context"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func TestLifetimes(t *testing.T) {
	for _, test := range []struct {
		name     string
		idle     time.Duration
		most     time.Duration
		token    time.Duration
		steps    []time.Duration // between requests
		lastGoes bool
	}{
		{"used within the idle timeout", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{50 * time.Minute, 50 * time.Minute, 50 * time.Minute}, true},
		{"idle for too long", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{50 * time.Minute, 62 * time.Minute}, false},
		{"used just within the idle timeout", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{time.Hour - 1, time.Hour - 1, time.Hour - 1}, true},
		{"use that is not written down", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{time.Second, time.Minute, time.Hour - 1}, true},
		{"use that is not written down, a short idle timeout", 10 * time.Second, 24 * time.Hour, 24 * time.Hour, []time.Duration{200 * time.Millisecond, 9900 * time.Millisecond}, true},
		{"a short idle timeout slides too", time.Minute, 24 * time.Hour, 24 * time.Hour, []time.Duration{40 * time.Second, 40 * time.Second, 40 * time.Second}, true},
		{"the absolute end", 8 * time.Hour, 2 * time.Hour, 24 * time.Hour, []time.Duration{time.Hour, 59 * time.Minute, 2 * time.Minute}, false},
		{"the access token's end", 8 * time.Hour, 24 * time.Hour, time.Hour, []time.Duration{59 * time.Minute, time.Minute}, false},
		{"just before the access token's end", 8 * time.Hour, 24 * time.Hour, time.Hour, []time.Duration{59 * time.Minute, 58 * time.Second}, true},
		{"a clock that was set back", time.Hour, 24 * time.Hour, 24 * time.Hour, []time.Duration{10 * time.Minute, -20 * time.Minute, 59 * time.Minute}, true},
		{"a clock that was set back does not keep a session for ever", time.Hour, 2 * time.Hour, 24 * time.Hour, []time.Duration{-time.Hour, time.Hour, 59 * time.Minute, 61 * time.Minute}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(h *Handler) {
				h.IdleTimeout, h.MaxLifetime = caddy.Duration(test.idle), caddy.Duration(test.most)
			})
			b.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = test.token })
			v := signedIn(t, b)
			for i, step := range test.steps {
				b.clock.advance(step)
				want := i < len(test.steps)-1 || test.lastGoes
				if got := v.lasts(t, b); got != want {
					t.Fatalf("step %d: request goes through: %v, want %v", i, got, want)
				}
			}
		})
	}
}

// countingStore counts writes.
type countingStore struct {
	TokenStore
	replaced int
}

func (s *countingStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	s.replaced++
	return s.TokenStore.Replace(ctx, id, old, record, ttl)
}

// TestTouches: a session's use is written down once in a thirty-second part of the
// idle timeout, less up to a quarter.
func TestTouches(t *testing.T) {
	b := newBench(t, func(h *Handler) { h.IdleTimeout = caddy.Duration(32 * time.Minute) })
	v := signedIn(t, b)
	counting := &countingStore{TokenStore: b.sessions.Store.(TokenStore)}
	b.sessions.Store = counting
	for range 300 {
		b.clock.advance(time.Second)
		v.lasts(t, b)
	}
	if counting.replaced < 5 || counting.replaced > 6 {
		t.Errorf("written %d times in five minutes", counting.replaced)
	}
}
