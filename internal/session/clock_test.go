package session

import (
	"context"
	"io/fs"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestConsentEndedWhileAway: a visitor whose consent ended while they were away for
// long is told so once, and no tokens stay in the record.
func TestConsentEndedWhileAway(t *testing.T) {
	for name, prepare := range map[string]func(*bench){
		"revoked": func(b *bench) { b.sim.RevokeConsents() },
		"over":    func(*bench) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.sim.Set(func(s *simulator.Settings) {
				if name == "over" {
					s.ConsentLifetime = 2 * time.Hour
				}
			})
			v := b.signIn(t)
			prepare(b)
			b.clock.advance(30 * 24 * time.Hour)
			s, err := b.WithUsableToken(t.Context(), b.open(t, v), b.clock.now())
			if err != nil || s == nil || !s.IsOver(b.clock.now()) || s.Told {
				t.Fatalf("%+v, %v", s, err)
			}
			b.MarkOver(t.Context(), s, true)
			for range 3 {
				s = b.open(t, v)
				if !s.IsOver(b.clock.now()) || !s.Told || s.refreshToken.Reveal()+s.Bearer() != "" {
					t.Errorf("%+v", s)
				}
				b.clock.advance(7 * time.Hour)
			}
			b.clock.advance(7 * time.Hour)
			if s, err := b.load(t.Context(), &v, b.clock.now()); s != nil || err != nil {
				t.Errorf("it is remembered for more than a day: %v", err)
			}
		})
	}
}

// countingStore counts writes, and fails them as the stores do whose records would
// have expired.
type countingStore struct {
	Store
	writes atomic.Int64
}

func (s *countingStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	s.writes.Add(1)
	if ttl <= 0 {
		return context.DeadlineExceeded
	}
	return s.Store.Replace(ctx, id, old, record, ttl)
}

// TestEndDuringRefresh: a session whose end passes while its token is refreshed is
// gone, and nobody goes on writing it.
func TestEndDuringRefresh(t *testing.T) {
	b := newBench(t)
	b.MaxLifetime = 2 * time.Hour
	store := &countingStore{Store: b.Store}
	b.Store = store
	v := b.signIn(t)
	before := store.writes.Load()
	b.clock.advance(2*time.Hour - time.Second)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	done := make(chan error)
	go func() {
		s, err := b.WithUsableToken(t.Context(), b.open(t, v), b.clock.now())
		if s != nil {
			err = fs.ErrExist
		}
		done <- err
	}()
	for b.refreshes() == 0 {
		runtime.Gosched()
	}
	b.clock.advance(2 * time.Second)
	close(hold)
	if err := <-done; err != nil {
		t.Errorf("it is not gone: %v", err)
	}
	if n := store.writes.Load() - before; n > 1 {
		t.Errorf("%d writes", n)
	}
}

// ticking is a store that expires records by a clock of its own.
type ticking struct {
	Store
	now  func() time.Time
	ends map[string]time.Time
}

func (s *ticking) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	err := s.Store.Replace(ctx, id, old, record, ttl)
	if err == nil {
		s.ends[id] = s.now().Add(ttl)
	}
	return err
}

func (s *ticking) Get(ctx context.Context, id string) ([]byte, error) {
	if end, ok := s.ends[id]; ok && !s.now().Before(end) {
		return nil, fs.ErrNotExist
	}
	return s.Store.Get(ctx, id)
}

// TestUseAfterTheClockWasSetBack: a session that is used does not end in a store
// with another clock, because its last use seems to be in the future.
func TestUseAfterTheClockWasSetBack(t *testing.T) {
	b := newBench(t)
	b.IdleTimeout = 30 * time.Minute
	b.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = 12 * time.Hour })
	truth := &clock{at: b.clock.now()}
	b.Store = &ticking{Store: b.Store, now: truth.now, ends: make(map[string]time.Time)}
	v := b.signIn(t)
	b.clock.advance(-time.Hour)
	for minute := range 90 {
		if b.token(t, v) == "" {
			t.Fatalf("it ended after %d minutes of use", minute)
		}
		truth.advance(time.Minute)
		b.clock.advance(time.Minute)
	}
}

// TestNothingIsWrittenForALittleSkew: two nodes whose clocks differ a little do not
// write each request's use.
func TestNothingIsWrittenForALittleSkew(t *testing.T) {
	b := newBench(t)
	b.IdleTimeout = 32 * time.Minute
	store := &countingStore{Store: b.Store}
	b.Store = store
	v := b.signIn(t)
	before := store.writes.Load()
	for range 20 {
		b.clock.advance(-time.Second)
		b.token(t, v)
		b.clock.advance(time.Second)
		b.token(t, v)
	}
	if n := store.writes.Load() - before; n != 0 {
		t.Errorf("%d writes", n)
	}
}

// TestSlowTouches: the requests of one session take one slot while its use is being
// written down.
func TestSlowTouches(t *testing.T) {
	b := newBench(t)
	b.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = 400 * 24 * time.Hour })
	slow, other := b.signIn(t), b.signIn(t)
	b.clock.advance(20 * 24 * time.Hour)
	hold := make(chan struct{})
	held := &holding{Store: b.Store, id: b.Label.SessionID(&slow), hold: hold, wrote: make(chan string, 10)}
	b.Store = held
	for range 3 * maxTouches {
		if s, err := b.Find(t.Context(), []Secret{slow}, b.clock.now()); s == nil || err != nil {
			t.Fatal(err)
		}
	}
	if s, err := b.Find(t.Context(), []Secret{other}, b.clock.now()); s == nil || err != nil {
		t.Fatal(err)
	}
	if id := <-held.wrote; id != b.Label.SessionID(&other) {
		t.Error("another session's use is not written down")
	}
	close(hold)
	b.Shared.Touches.Wait(t.Context())
	if n := len(held.wrote); n != 1 {
		t.Errorf("the slow one was written %d times", n)
	}
}

// holding holds the writes of one record.
type holding struct {
	Store
	id    string
	hold  chan struct{}
	wrote chan string
}

func (s *holding) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	if id == s.id {
		<-s.hold
	}
	s.wrote <- id
	return s.Store.Replace(ctx, id, old, record, ttl)
}
