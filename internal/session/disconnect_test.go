package session

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
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
		prepare    func(b *bench, v Secret)
		everywhere bool
		calls      int
	}{
		"reached":          {func(*bench, Secret) {}, true, 1},
		"an expired token": {func(b *bench, _ Secret) { b.clock.advance(2 * time.Hour) }, true, 1},
		"failing":          {func(b *bench, _ Secret) { b.sim.Fail(simulator.Delete, simulator.Fault{Status: 500}) }, false, 1},
		"failing to refresh": {func(b *bench, _ Secret) {
			b.clock.advance(2 * time.Hour)
			b.sim.Fail(simulator.Token, simulator.Fault{Status: 500})
		}, false, 0},
		"a refused refresh": {func(b *bench, v Secret) { b.refuseRefresh(t, v) }, true, 1},
		"a refused refresh, failing": {func(b *bench, v Secret) {
			b.refuseRefresh(t, v)
			b.sim.Fail(simulator.Delete, simulator.Fault{Status: 500})
		}, false, 1},
		"unknown to TrueLayer":   {func(b *bench, _ Secret) { b.sim.Fail(simulator.Delete, simulator.Fault{Status: 401}) }, true, 1},
		"a consent that is over": {func(b *bench, _ Secret) { b.clock.advance(2 * time.Hour); b.sim.RevokeConsents() }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			v := b.signIn(t)
			test.prepare(b, v)
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

// refuseRefresh has TrueLayer refuse to refresh a session's access token, which still lives.
func (b *bench) refuseRefresh(t *testing.T, v Secret) {
	t.Helper()
	b.beginRefresh(t, v, simulator.Fault{Times: 1, Status: 400, Body: `{"error":"invalid_grant"}`})
	b.Shared.Refreshes.Wait(t.Context())
	if s := b.open(t, v); !s.consentOver || s.IsOver(b.clock.now()) {
		t.Fatal("the consent goes on, or the session does not")
	}
}

// beginRefresh has a session's access token, which still lives, refreshed, and TrueLayer
// answer with a fault.
func (b *bench) beginRefresh(t *testing.T, v Secret, fault simulator.Fault) {
	t.Helper()
	b.clock.advance(time.Hour - 2*time.Minute)
	b.sim.Fail(simulator.Token, fault)
	before := b.refreshes()
	if b.token(t, v) == "" {
		t.Fatal("the token has expired")
	}
	for b.refreshes() == before {
		runtime.Gosched()
	}
}

// TestDisconnectDuringARefresh: the connection is ended with the token that the refresh brings,
// since TrueLayer may not know the one before any more.
func TestDisconnectDuringARefresh(t *testing.T) {
	b := newBench(t)
	b.sim.Set(func(s *simulator.Settings) { s.OnlyLatestToken = true })
	v := b.signIn(t)
	hold := make(chan struct{})
	b.beginRefresh(t, v, simulator.Fault{Times: 1, Hold: hold})
	var wg sync.WaitGroup
	wg.Go(func() {
		ended, everywhere, err := b.Disconnect(t.Context(), []Secret{v})
		if len(ended) != 1 || !everywhere || err != nil {
			t.Errorf("%d ended, everywhere: %v, %v", len(ended), everywhere, err)
		}
		if err := b.Client.Disconnect(t.Context(), ended[0].AccessToken()); !errors.Is(err, authserver.ErrUnknownToken) {
			t.Errorf("the connection is there: %v", err)
		}
	})
	for !somebodyWaits() {
		if b.sim.Calls(simulator.Delete) != 0 {
			t.Error("TrueLayer was called meanwhile")
			break
		}
	}
	close(hold)
	wg.Wait()
	if s, err := b.load(t.Context(), &v, b.clock.now()); s != nil || err != nil {
		t.Errorf("the session is there: %v", err)
	}
}

// TestDisconnectDuringALongRefresh: the session ends all the same. That TrueLayer does not
// know its token says nothing.
func TestDisconnectDuringALongRefresh(t *testing.T) {
	b := newBench(t)
	v := b.signIn(t)
	hold := make(chan struct{})
	b.beginRefresh(t, v, simulator.Fault{Times: 1, Hold: hold})
	b.sim.Fail(simulator.Delete, simulator.Fault{Status: 401})
	ended, everywhere, err := b.Disconnect(t.Context(), []Secret{v})
	if len(ended) != 1 || everywhere || err != nil {
		t.Errorf("%d ended, everywhere: %v, %v", len(ended), everywhere, err)
	}
	close(hold)
	b.Shared.Wait(t.Context())
	if s, err := b.load(t.Context(), &v, b.clock.now()); s != nil || err != nil || b.sim.Calls(simulator.Delete) != 1 {
		t.Errorf("%d calls, the session is there: %v, %v", b.sim.Calls(simulator.Delete), s != nil, err)
	}
}

// TestDisconnectWithoutALock: where the store gives no lock, only TrueLayer's word that the
// connection has ended counts.
func TestDisconnectWithoutALock(t *testing.T) {
	for status, want := range map[int]bool{200: true, 401: false} {
		b := newBench(t)
		b.Store = &locking{records: records{of: make(map[string][]byte)}, fail: errors.New("no lock")}
		v := b.signIn(t)
		b.sim.Fail(simulator.Delete, simulator.Fault{Status: status})
		ended, everywhere, err := b.Disconnect(t.Context(), []Secret{v})
		if len(ended) != 1 || everywhere != want || err != nil {
			t.Errorf("%d: %d ended, everywhere: %v, %v", status, len(ended), everywhere, err)
		}
		if s, err := b.load(t.Context(), &v, b.clock.now()); s != nil || err != nil {
			t.Errorf("the session is there: %v", err)
		}
	}
}
