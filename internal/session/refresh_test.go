package session

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func TestRefreshWindow(t *testing.T) {
	for _, test := range []struct {
		before, life      time.Duration
		earliest, longest time.Duration // before the token's end
	}{
		{0, time.Hour, 225 * time.Second, 300 * time.Second},
		{0, 10 * time.Minute, 45 * time.Second, time.Minute},
		{0, 5 * time.Second, 375 * time.Millisecond, 500 * time.Millisecond},
		{10 * time.Minute, time.Hour, 450 * time.Second, 10 * time.Minute},
		{10 * time.Hour, time.Hour, 22 * time.Minute, 30 * time.Minute},
	} {
		m := &Manager{RefreshBefore: test.before}
		at := time.Unix(1_800_000_000, 0)
		seen := make(map[time.Duration]bool)
		for i := range 256 {
			s := &Session{body: body{tokenIssued: at, TokenExpires: at.Add(test.life)}, id: string([]byte{byte(i)})}
			before := s.tokenEnds().Sub(m.refreshFrom(s))
			if before < test.earliest || before > test.longest {
				t.Fatalf("%+v: %v before the end", test, before)
			}
			seen[before] = true
		}
		if len(seen) < 100 {
			t.Errorf("%+v: not spread", test)
		}
	}
}

// TestRefreshesAreBounded: however many sessions expire at once, only so many
// refreshes are under way, and all get their turn.
func TestRefreshesAreBounded(t *testing.T) {
	b := newBench(t)
	b.sim.Set(func(s *simulator.Settings) { s.CheapSignatures = true })
	visitors := make([]Secret, 3*maxRefreshes)
	for i := range visitors {
		visitors[i] = b.signIn(t)
	}
	b.clock.advance(2 * time.Hour)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Hold: hold})
	var wg sync.WaitGroup
	for _, v := range visitors {
		wg.Go(func() {
			if b.token(t, v) == "" {
				t.Error("a request did not go through")
			}
		})
	}
	for b.refreshes() < maxRefreshes {
		runtime.Gosched()
	}
	_, err := b.Shared.Refreshes.Begin(t.Context(), "one more", time.Nanosecond, func(context.Context) (any, error) { return nil, nil }).Await(t.Context())
	if !errors.Is(err, flight.ErrBusy) || b.refreshes() != maxRefreshes {
		t.Errorf("%d refreshes at once", b.refreshes())
	}
	close(hold)
	wg.Wait()
	if b.refreshes() != len(visitors) {
		t.Errorf("%d refreshes for %d sessions", b.refreshes(), len(visitors))
	}
}

// TestTouchNeverOverwritesARefresh runs the two writes in the order that would
// lose the new token, were it not for compare-and-swap.
func TestTouchNeverOverwritesARefresh(t *testing.T) {
	b := newBench(t)
	v := b.signIn(t)
	b.clock.advance(2 * time.Hour)
	stale := b.open(t, v)
	fresh := b.token(t, v)
	b.writeTouch(t.Context(), stale, b.clock.now())
	if fresh == "" || b.token(t, v) != fresh {
		t.Error("the touch won")
	}
}

// TestRefreshOverATouch: a refresh that lost against a touch is written again.
func TestRefreshOverATouch(t *testing.T) {
	b := newBench(t)
	b.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	v := b.signIn(t)
	b.clock.advance(2 * time.Hour)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	done := make(chan string)
	go func() { done <- b.token(t, v) }()
	for b.refreshes() == 0 {
		runtime.Gosched()
	}
	b.writeTouch(t.Context(), b.open(t, v), b.clock.now())
	close(hold)
	if <-done == "" {
		t.Error("the request did not go through")
	}
	b.clock.advance(2 * time.Hour)
	if b.token(t, v) == "" || b.refreshes() != 2 {
		t.Errorf("%d refreshes: the rotated token was lost", b.refreshes())
	}
}

// TestRefreshWithoutItsLock: a node that stood still in the middle of a refresh
// does not put its token over the one of the node that went on, whether or not
// the auth server replaces refresh tokens.
func TestRefreshWithoutItsLock(t *testing.T) {
	b := newBench(t)
	v := b.signIn(t)
	b.clock.advance(2 * time.Hour)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	done := make(chan string)
	go func() { done <- b.token(t, v) }()
	for b.refreshes() == 0 {
		runtime.Gosched()
	}
	// another node, which took the lock meanwhile
	newer := b.anotherNode(t).token(t, v)
	close(hold)
	if got := <-done; got != newer || newer == "" {
		t.Error("the request went on with the token of the node that stood still")
	}
	if s := b.open(t, v); s.Bearer() != newer || b.refreshes() != 2 {
		t.Errorf("the other node's token was overwritten; %d refreshes", b.refreshes())
	}
}

// lockingStore counts how its lock is used.
type lockingStore struct {
	Store
	mu    sync.Mutex
	locks int
}

func (s *lockingStore) Lock(context.Context, string) (func(), error) {
	s.mu.Lock()
	s.locks++
	return s.mu.Unlock, nil
}

// TestRefreshOnTwoNodes: with a lock, one refresh for both.
func TestRefreshOnTwoNodes(t *testing.T) {
	b := newBench(t)
	v := b.signIn(t)
	locking := &lockingStore{Store: b.Store}
	b.Store = locking
	other := b.anotherNode(t)
	b.clock.advance(2 * time.Hour)
	var wg sync.WaitGroup
	tokens := make([]string, 40)
	for i := range tokens {
		node := b
		if i%2 == 1 {
			node = other
		}
		wg.Go(func() { tokens[i] = node.token(t, v) })
	}
	wg.Wait()
	for _, token := range tokens {
		if token != tokens[0] || token == "" {
			t.Error("the requests carried different tokens")
		}
	}
	if b.refreshes() != 1 || locking.locks < 2 {
		t.Errorf("%d refreshes, %d locks", b.refreshes(), locking.locks)
	}
}

// TestLogoutDuringRefresh: the session stays gone, whichever was first.
func TestLogoutDuringRefresh(t *testing.T) {
	b := newBench(t)
	b.sim.Set(func(s *simulator.Settings) { s.CheapSignatures = true })
	for i := range 1000 {
		v := b.signIn(t)
		b.clock.advance(2 * time.Hour)
		s := b.open(t, v)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = b.refresh(t.Context(), s) })
		wg.Go(func() {
			for range i % 20 * 50 {
				runtime.Gosched()
			}
			if err := b.Store.Delete(t.Context(), s.id); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if left, err := b.load(t.Context(), &v, b.clock.now()); left != nil || err != nil {
			t.Fatalf("round %d: the session came back", i)
		}
	}
}

// TestPauseOfAnotherClient: that the auth server wants to be left alone it says
// to a client.
func TestPauseOfAnotherClient(t *testing.T) {
	b := newBench(t)
	now := b.clock.now()
	b.Shared.backOff("a session", "a client", now, time.Minute)
	for _, test := range []struct {
		session, client string
		want            time.Duration
	}{
		{"a session", "a client", time.Minute},
		{"another session", "a client", time.Minute},
		{"another session", "another client", 0},
	} {
		if got := b.Shared.refreshDelay(test.session, test.client, now); got != test.want {
			t.Errorf("%s of %s waits for %v, want %v", test.session, test.client, got, test.want)
		}
	}
}
