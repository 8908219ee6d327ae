package session

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// link returns a link that shows the refresh token which it was asked for with.
func link(_ context.Context, refresh authserver.Secret) (string, error) {
	return "https://bank.example/" + refresh.Reveal(), nil
}

// TestRenewalLink: the link is asked for with the refresh token that the store has by now,
// whatever session the caller has read.
func TestRenewalLink(t *testing.T) {
	b := newBench(t)
	b.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	v := b.signIn(t)
	stale := b.open(t, v)
	b.clock.advance(2 * time.Hour)
	b.token(t, v) // another node's refresh, say
	fresh := b.open(t, v)
	if fresh.refreshToken.Reveal() == stale.refreshToken.Reveal() {
		t.Fatal("not rotated")
	}
	if got, err := b.RenewalLink(t.Context(), stale, link); err != nil || got != "https://bank.example/"+fresh.refreshToken.Reveal() {
		t.Errorf("%s, %v", got, err)
	}
	refused := errors.New("refused")
	if _, err := b.RenewalLink(t.Context(), stale, func(context.Context, authserver.Secret) (string, error) { return "", refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	b.sim.RevokeConsents()
	b.clock.advance(2 * time.Hour)
	b.token(t, v)
	if _, err := b.RenewalLink(t.Context(), stale, link); !errors.Is(err, ErrNoRefreshToken) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := b.Logout(t.Context(), []Secret{v}, false); err != nil {
		t.Fatal(err)
	}
	if got, err := b.RenewalLink(t.Context(), stale, link); got != "" || err != nil {
		t.Errorf("after a logout: %s, %v", got, err)
	}
}

// somebodyWaits reports whether somebody waits for the lock of a session's tokens. Nothing but
// the stacks tells.
func somebodyWaits() bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "flight.(*Limiter[...]).Take")
}

// TestRenewalLinkDuringARefresh: no refresh replaces the token that a link is asked for with,
// in this process, and the requests that wait for it get their token.
func TestRenewalLinkDuringARefresh(t *testing.T) {
	b := newBench(t)
	b.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	v := b.signIn(t)
	b.clock.advance(2 * time.Hour)
	asked, hold := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := b.RenewalLink(t.Context(), b.open(t, v), func(context.Context, authserver.Secret) (string, error) {
			close(asked)
			<-hold
			return "", nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-asked
	before := b.refreshes()
	wg.Go(func() {
		if b.token(t, v) == "" {
			t.Error("a request did not go through")
		}
	})
	for !somebodyWaits() {
		if b.refreshes() != before {
			t.Fatal("refreshed meanwhile")
		}
	}
	close(hold)
	wg.Wait()
	if b.refreshes() != before+1 {
		t.Errorf("%d refreshes", b.refreshes()-before)
	}
}

// TestRenewalLinkHangs: a call for links that hangs ends in time for who waits for a refresh,
// and for who disconnects.
func TestRenewalLinkHangs(t *testing.T) {
	for timeout, most := range map[time.Duration]time.Duration{2 * time.Second: time.Second, time.Minute: disconnectPatience - time.Second} {
		b := newBench(t)
		b.RefreshTimeout = timeout
		_, err := b.RenewalLink(t.Context(), b.open(t, b.signIn(t)), func(ctx context.Context, _ authserver.Secret) (string, error) {
			if ends, ok := ctx.Deadline(); !ok || time.Until(ends) > most {
				t.Errorf("with a timeout of %v it may take until %v", timeout, ends)
			}
			return "", nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	b := newBench(t)
	b.RefreshTimeout = 2 * time.Second
	v := b.signIn(t)
	stale := b.open(t, v)
	b.clock.advance(2 * time.Hour)
	asked := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = b.RenewalLink(t.Context(), stale, func(ctx context.Context, _ authserver.Secret) (string, error) {
			close(asked)
			<-ctx.Done()
			return "", ctx.Err()
		})
	})
	<-asked
	if b.token(t, v) == "" {
		t.Error("a request has waited in vain")
	}
	wg.Wait()
}

// locking is a store with locks.
type locking struct {
	records
	locked map[string]bool
	fail   error
}

func (l *locking) Lock(_ context.Context, id string) (func(), error) {
	if l.fail != nil {
		return nil, l.fail
	}
	if l.locked[id] {
		return nil, errors.New("locked twice")
	}
	l.locked[id] = true
	return func() { l.locked[id] = false }, nil
}

// TestRenewalLinkUnderTheLock: where processes share a store, the session's lock is held.
func TestRenewalLinkUnderTheLock(t *testing.T) {
	b := newBench(t)
	store := &locking{records: records{of: make(map[string][]byte)}, locked: make(map[string]bool)}
	b.Store = store
	s := b.open(t, b.signIn(t))
	_, err := b.RenewalLink(t.Context(), s, func(context.Context, authserver.Secret) (string, error) {
		if !store.locked[s.id] {
			t.Error("asked without the lock")
		}
		return "", nil
	})
	if err != nil || store.locked[s.id] || b.Shared.tokenUses.Len() != 0 {
		t.Errorf("%v, still locked: %v", err, store.locked[s.id])
	}
	store.fail = errors.New("no lock")
	_, err = b.RenewalLink(t.Context(), s, link)
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != StoreFailed || b.Shared.tokenUses.Len() != 0 {
		t.Errorf("without a lock: %v", err)
	}
}

// panicking is a store whose locks panic: on being taken, or on being released.
type panicking struct {
	*records
	onRelease bool
}

func (p panicking) Lock(context.Context, string) (func(), error) {
	if p.onRelease {
		return func() { panic("released") }, nil
	}
	panic("taken")
}

// TestLockPanics: a panic of somebody's store leaves nothing that a session's next refresh
// would wait for.
func TestLockPanics(t *testing.T) {
	for _, onRelease := range []bool{false, true} {
		b := newBench(t)
		b.Store = panicking{&records{of: make(map[string][]byte)}, onRelease}
		v := b.signIn(t)
		b.clock.advance(2 * time.Hour)
		if b.token(t, v) != "" || b.Shared.tokenUses.Len() != 0 {
			t.Errorf("on release: %v, %d locks are taken", onRelease, b.Shared.tokenUses.Len())
		}
	}
}

// TestCarried: what is kept with a session goes on with the one that renews it only if both
// tokens name the same connection.
func TestCarried(t *testing.T) {
	carry := func(kept string) string { return "carried " + kept }
	for relation, change := range map[Relation]func(old, l *Session){
		SameConnection:    func(old, began *Session) { old.Connection = began.Connection },
		AnotherConnection: func(_, _ *Session) {},
		UnknownConnection: func(old, began *Session) { old.Connection, old.randomConnection = began.Connection, true },
	} {
		b := newBench(t)
		old := *b.open(t, b.signIn(t))
		old.Kept = "name"
		l, code := b.depart(t)
		token, err := b.Client.Exchange(t.Context(), code, l.RedirectURI, l.Verifier)
		if err != nil {
			t.Fatal(err)
		}
		change(&old, &Session{body: body{Connection: token.Claims.Subject}})
		l.Renews, l.Carry = &old, carry
		c, err := b.claim(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		result, err := b.accept(t.Context(), l, c, token)
		if err != nil {
			t.Fatal(err)
		}
		began, want := b.open(t, result.Secret), ""
		if relation == SameConnection {
			want = "carried name"
		}
		if began.Kept != want || began.RelationTo(&old) != relation || began.RelationTo(nil) != UnknownConnection {
			t.Errorf("%s: kept %q, %s", relation, began.Kept, began.RelationTo(&old))
		}
	}
	b := newBench(t)
	if kept := b.open(t, b.signIn(t)).Kept; kept != "" {
		t.Errorf("a login that renews nothing keeps %q", kept)
	}
}
