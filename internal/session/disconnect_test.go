package session

import (
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestDisconnectReplaced: a replaced connection is ended at TrueLayer only if it is known to
// be another one than the new session's.
func TestDisconnectReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		change func(old, current *body)
		on     bool
		calls  int
	}{
		"another":            {func(_, _ *body) {}, true, 1},
		"the same":           {func(old, current *body) { old.Connection = current.Connection }, true, 0},
		"the old is unknown": {func(old, _ *body) { old.randomConnection = true }, true, 0},
		"the new is unknown": {func(_, current *body) { current.randomConnection = true }, true, 0},
		"not asked for":      {func(_, _ *body) {}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			oldSecret, currentSecret := b.signIn(t), b.signIn(t)
			old, current := b.open(t, oldSecret), b.open(t, currentSecret)
			oldBody, currentBody := old.body, current.body
			test.change(&oldBody, &currentBody)
			for s, changed := range map[*Session]body{old: oldBody, current: currentBody} {
				if _, err := b.replace(t.Context(), s, changed); err != nil {
					t.Fatal(err)
				}
			}
			b.Discard(t.Context(), []Secret{oldSecret, currentSecret}, currentSecret, test.on)
			b.Shared.Disconnects.Wait(t.Context())
			if got := b.sim.Calls(simulator.Delete); got != test.calls {
				t.Errorf("%d calls, want %d", got, test.calls)
			}
			if s, err := b.load(t.Context(), &oldSecret, b.clock.now()); s != nil || err != nil {
				t.Errorf("the old session is there: %v", err)
			}
		})
	}
}

// TestDisconnect: who disconnects has no session afterwards, whatever TrueLayer says, and is
// told the truth.
func TestDisconnect(t *testing.T) {
	for name, test := range map[string]struct {
		prepare    func(b *bench)
		everywhere bool
		calls      int
	}{
		"reached":          {func(*bench) {}, true, 1},
		"an expired token": {func(b *bench) { b.clock.advance(2 * time.Hour) }, true, 1},
		"failing":          {func(b *bench) { b.sim.Fail(simulator.Delete, simulator.Fault{Status: 500}) }, false, 1},
		"failing to refresh": {func(b *bench) {
			b.clock.advance(2 * time.Hour)
			b.sim.Fail(simulator.Token, simulator.Fault{Status: 500})
		}, false, 0},
		"a consent that is over": {func(b *bench) { b.clock.advance(2 * time.Hour); b.sim.RevokeConsents() }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			v := b.signIn(t)
			test.prepare(b)
			ended, everywhere, err := b.Disconnect(t.Context(), []Secret{v, NewSecret()})
			if err != nil || len(ended) != 1 || everywhere != test.everywhere || b.sim.Calls(simulator.Delete) != test.calls {
				t.Errorf("%d ended, everywhere: %v, %d calls, %v", len(ended), everywhere, b.sim.Calls(simulator.Delete), err)
			}
			if s, err := b.load(t.Context(), &v, b.clock.now()); s != nil || err != nil {
				t.Errorf("the session is there: %v", err)
			}
		})
	}
	b := newBench(t)
	v := b.signIn(t)
	hold := make(chan struct{})
	defer close(hold)
	b.sim.Fail(simulator.Delete, simulator.Fault{Hold: hold})
	if _, everywhere, err := b.Disconnect(t.Context(), []Secret{v}); everywhere || err != nil {
		t.Errorf("while TrueLayer hangs: %v, %v", everywhere, err)
	}
	if ended, _, err := b.Disconnect(t.Context(), []Secret{v}); len(ended) != 0 || err != nil {
		t.Errorf("once more: %v, %v", ended, err)
	}
}
