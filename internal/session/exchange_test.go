package session

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// kindOf is the kind of an error, -1 if it is none of ours.
func kindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return -1
}

// stuckStore is a store whose writes wait for as long as they may.
type stuckStore struct{ Store }

func (stuckStore) Create(ctx context.Context, _ string, _ []byte, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestExchangeEnds: whatever an exchange waits for, it ends within its time. Each of
// the calls in it has a bound of its own, which would add up.
func TestExchangeEnds(t *testing.T) {
	for name, test := range map[string]struct {
		block func(t *testing.T, b *bench)
		want  Kind
	}{
		"the store": {func(_ *testing.T, b *bench) { b.Store = stuckStore{b.Store} }, StoreFailed},
		"the network's turn": {func(t *testing.T, b *bench) {
			for range maxNetworkExchanges {
				if _, err := b.Shared.exchangeLimiter.Take(t.Context(), netip.Prefix{}); err != nil {
					t.Error(err)
				}
			}
		}, TooManyLogins},
		"a slot": {func(t *testing.T, b *bench) {
			hold := make(chan struct{})
			t.Cleanup(func() { close(hold) })
			for i := range maxExchanges {
				b.Shared.Exchanges.Begin(t.Context(), strconv.Itoa(i), time.Hour, func(context.Context) (any, error) {
					<-hold
					return nil, nil
				})
			}
			synctest.Wait()
		}, TooManyLogins},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			l, code := b.depart(t)
			synctest.Test(t, func(t *testing.T) {
				test.block(t, b)
				defer b.Shared.Server.CloseIdleConnections() // a bubble waits for its goroutines
				start := time.Now()
				if _, err := b.Begin(t.Context(), l, code, netip.Prefix{}); kindOf(err) != test.want {
					t.Errorf("%v", err)
				}
				// the bubble's clock moves only when all of it waits
				if waited := time.Since(start); waited != 20*time.Second {
					t.Errorf("it took %v", waited)
				}
			})
			if n := b.sim.Calls("token"); n != 0 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}

// TestOneNetworkCannotQueueForEver: beyond those that may wait it is told to
// come again, with the code unspent.
func TestOneNetworkCannotQueueForEver(t *testing.T) {
	b := newBench(t)
	l, code := b.depart(t)
	network := netip.MustParsePrefix("2001:db8::/64")
	if b.Shared.exchangeLimiter.MaxTotal != maxNetworkWaiting {
		t.Errorf("so many may wait: %d", b.Shared.exchangeLimiter.MaxTotal)
	}
	b.Shared.exchangeLimiter.MaxTotal = 1
	leave, err := b.Shared.exchangeLimiter.Take(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Begin(t.Context(), l, code, network); kindOf(err) != TooManyLogins || b.sim.Calls(simulator.Token) != 0 {
		t.Errorf("%v, %d exchanges", err, b.sim.Calls(simulator.Token))
	}
	leave()
	if _, err := b.Begin(t.Context(), l, code, network); err != nil {
		t.Errorf("again: %v", err)
	}
	if n := b.Shared.exchangeLimiter.Len(); n != 0 {
		t.Errorf("%d networks are remembered for nothing", n)
	}
}

// failingCreate is a store whose next Create fails.
type failingCreate struct {
	Store
	fails bool
}

func (s *failingCreate) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	if s.fails {
		s.fails = false
		return context.DeadlineExceeded
	}
	return s.Store.Create(ctx, id, record, ttl)
}

// TestClaimOfAnotherNode: a node that could not claim a login does not give back
// the claim of a node that could, which may be sending the code.
func TestClaimOfAnotherNode(t *testing.T) {
	b := newBench(t)
	l, code := b.depart(t)
	if _, err := b.anotherNode(t).claim(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	b.Store = &failingCreate{b.Store, true}
	for _, want := range []Kind{StoreFailed, LoginUsed} {
		if _, err := b.Begin(t.Context(), l, code, netip.Prefix{}); kindOf(err) != want {
			t.Errorf("want %d: %v", want, err)
		}
	}
	if n := b.sim.Calls(simulator.Token); n != 0 {
		t.Errorf("%d exchanges", n)
	}
}

// lateStore is a store whose next Create happens and is not answered.
type lateStore struct {
	Store
	create bool
}

func (s *lateStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	if err := s.Store.Create(ctx, id, record, ttl); err != nil || !s.create {
		return err
	}
	s.create = false
	return context.DeadlineExceeded
}

// TestClaimWithoutAnAnswer: a claim that was made, although the store did not say
// so, is given back, and the code works.
func TestClaimWithoutAnAnswer(t *testing.T) {
	b := newBench(t)
	l, code := b.depart(t)
	b.Store = &lateStore{Store: b.Store, create: true}
	if _, err := b.Begin(t.Context(), l, code, netip.Prefix{}); kindOf(err) != StoreFailed {
		t.Errorf("the store's failure: %v", err)
	}
	b.Shared.Wait(t.Context())
	if _, err := b.Begin(t.Context(), l, code, netip.Prefix{}); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestLateRepetition: what is done again since its answer was lost does not end the
// claim that another node has made since.
func TestLateRepetition(t *testing.T) {
	b := newBench(t)
	l, _ := b.depart(t)
	first, err := b.claim(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Store.Delete(t.Context(), first.id); err != nil { // which is not answered
		t.Fatal(err)
	}
	hold := make(chan struct{})
	for i := range maxTouches { // so that the repetition waits
		b.Shared.Touches.Begin(t.Context(), strconv.Itoa(i), time.Minute, func(context.Context) (any, error) {
			<-hold
			return nil, nil
		})
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	b.releaseClaim(over, first)
	second, err := b.anotherNode(t).claim(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	close(hold)
	b.Shared.Wait(t.Context())
	if record, err := b.Store.Get(t.Context(), second.id); err != nil || !bytes.Equal(record, second.record) {
		t.Errorf("the claim is gone: %v", err)
	}
}

// TestPauseOfOneNetwork: that the auth server wants fewer codes after those of one
// network closes logins for others only once theirs are answered so, too. Refreshes
// go on.
func TestPauseOfOneNetwork(t *testing.T) {
	b := newBench(t)
	v := b.signIn(t)
	one, other, third := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("192.0.2.3/32")
	refuse := func(n int) {
		b.sim.Fail(simulator.Token, simulator.Fault{Times: n, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	}
	begin := func(network netip.Prefix) error {
		l, code := b.depart(t)
		_, err := b.Begin(t.Context(), l, code, network)
		return err
	}
	refuse(1)
	for range 2 {
		if err := begin(one); kindOf(err) != TooManyLogins {
			t.Errorf("the network itself: %v", err)
		}
	}
	if err := begin(other); err != nil {
		t.Errorf("another network: %v", err)
	}
	b.clock.advance(59 * time.Minute)
	b.clock.advance(time.Minute)
	if b.token(t, v) == "" {
		t.Error("a refresh waits")
	}
	for _, network := range []netip.Prefix{one, other} {
		refuse(1)
		if err := begin(network); kindOf(err) != TooManyLogins {
			t.Errorf("%v: %v", network, err)
		}
	}
	if err := begin(third); kindOf(err) != TooManyLogins {
		t.Errorf("a third network: %v", err)
	}
	b.clock.advance(61 * time.Second)
	if err := begin(third); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

// TestInventedCodesAreFew: of one network's invented codes no more get to the token
// endpoint at once, or in a minute, than leave most of a small allowance to others.
func TestInventedCodesAreFew(t *testing.T) {
	b := newBench(t)
	network := netip.MustParsePrefix("192.0.2.1/32")
	var wg sync.WaitGroup
	for range 100 {
		l, _ := b.depart(t)
		wg.Go(func() { _, _ = b.Begin(t.Context(), l, "invented", network) })
	}
	wg.Wait()
	if n := b.sim.CallsGrant("authorization_code"); n >= maxRefusals+maxNetworkExchanges {
		t.Errorf("%d codes were sent", n)
	}
}

// heldDeletes is a store whose Deletes wait to be let go.
type heldDeletes struct {
	Store
	release chan struct{}
}

func (s *heldDeletes) Delete(ctx context.Context, id string) error {
	<-s.release
	return s.Store.Delete(ctx, id)
}

// TestClaimsGivenBackLate: when the time of all exchanges is over at once, as with
// an endpoint that cannot be reached, all of their claims are given back.
func TestClaimsGivenBackLate(t *testing.T) {
	b := newBench(t)
	kept := b.Store
	var claims []*claim
	for range maxExchanges {
		c, err := b.claim(t.Context(), Login{State: string(newState()), Started: b.clock.now(), Expires: b.clock.now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		claims = append(claims, c)
	}
	synctest.Test(t, func(t *testing.T) {
		store := &heldDeletes{kept, make(chan struct{})}
		b.Store = store
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range claims {
			b.settle(over, c, &authserver.Error{Unsent: true}, netip.Prefix{})
		}
		synctest.Wait()
		close(store.release)
		synctest.Wait()
	})
	for i, c := range claims {
		for what, id := range map[string]string{"claim": c.id, "reservation": c.session} {
			if _, err := kept.Get(t.Context(), id); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %d is still there: %v", what, i, err)
			}
		}
	}
}

// TestDestructWaits: a code that was sent is not lost because Caddy stops.
func TestDestructWaits(t *testing.T) {
	b := newBench(t)
	node := b.anotherNode(t)
	shared := NewShared(b.Client.Server.Base())
	node.Shared, node.Client.Server = shared, shared.Server
	l, code := node.depart(t)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	result := make(chan error)
	go func() {
		_, err := node.Begin(t.Context(), l, code, netip.Prefix{})
		result <- err
	}()
	for b.sim.Calls("token") == 0 {
		runtime.Gosched()
	}
	ended := make(chan error)
	go func() { ended <- shared.Destruct() }()
	close(hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if shared.outcomes.ItemCount() != 1 {
		t.Error("did not wait for the exchange")
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}
