package truelayer

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestTouchNeverOverwritesARefresh runs the two writes in the order that would
// lose the new token, were it not for compare-and-swap.
func TestTouchNeverOverwritesARefresh(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	secret := v.secret(t, b)
	b.clock.advance(2 * time.Hour)
	stale, err := b.load(t.Context(), &secret, b.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	fresh := v.token(t, b)
	b.writeTouch(t.Context(), stale, b.clock.now())
	if v.token(t, b) != fresh {
		t.Error("the touch won")
	}
}

// TestRefreshOverATouch: a refresh that lost against a touch is written again.
func TestRefreshOverATouch(t *testing.T) {
	b := newRefreshBench(t, nil)
	b.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	v := signedIn(t, b)
	secret := v.secret(t, b)
	b.clock.advance(2 * time.Hour)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	done := make(chan bool)
	go func() { done <- v.lasts(t, b) }()
	for b.refreshes() == 0 {
		runtime.Gosched()
	}
	s, err := b.load(t.Context(), &secret, b.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	b.writeTouch(t.Context(), s, b.clock.now())
	close(hold)
	if !<-done {
		t.Error("the request did not go through")
	}
	b.clock.advance(2 * time.Hour)
	if !v.lasts(t, b) || b.refreshes() != 2 {
		t.Errorf("%d refreshes: the rotated token was lost", b.refreshes())
	}
}

// TestRefreshWithoutItsLock: a node that stood still in the middle of a refresh
// does not put its token over the one of the node that went on, whether or not
// the auth server replaces refresh tokens.
func TestRefreshWithoutItsLock(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	secret := v.secret(t, b)
	b.clock.advance(2 * time.Hour)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	done := make(chan string)
	go func() { done <- v.token(t, b) }()
	for b.refreshes() == 0 {
		runtime.Gosched()
	}
	// another node, which took the lock meanwhile
	other := &bench{Handler: anotherNode(b.Handler), sim: b.sim, clock: b.clock}
	newer := v.token(t, other)
	close(hold)
	if got := <-done; got != newer {
		t.Error("the request went on with the token of the node that stood still")
	}
	s, err := b.load(t.Context(), &secret, b.clock.now())
	if err != nil || s == nil || s.bearer.Reveal() != newer || b.refreshes() != 2 {
		t.Errorf("the other node's token was overwritten; %d refreshes, %v", b.refreshes(), err)
	}
}

// lockingStore counts how its lock is used.
type lockingStore struct {
	TokenStore
	mu   sync.Mutex
	held int
}

func (s *lockingStore) Lock(context.Context, string) (func(), error) {
	s.mu.Lock()
	s.held++
	return s.mu.Unlock, nil
}

// TestRefreshOnTwoNodes: with a lock, one refresh for both.
func TestRefreshOnTwoNodes(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	locking := &lockingStore{TokenStore: b.store}
	b.store = locking
	other := &bench{Handler: anotherNode(b.Handler), sim: b.sim, clock: b.clock}
	b.clock.advance(2 * time.Hour)
	var wg sync.WaitGroup
	tokens := make([]string, 40)
	for i := range tokens {
		node := b
		if i%2 == 1 {
			node = other
		}
		wg.Go(func() {
			if _, got := v.ask(t, node.Handler, "/page"); got != nil {
				tokens[i] = got.Header.Get("Authorization")
			}
		})
	}
	wg.Wait()
	for _, token := range tokens {
		if token != tokens[0] || token == "" {
			t.Error("the requests carried different tokens")
		}
	}
	if b.refreshes() != 1 || locking.held < 2 {
		t.Errorf("%d refreshes, %d locks", b.refreshes(), locking.held)
	}
}
