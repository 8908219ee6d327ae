package truelayer

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stuckStore is a store whose writes wait for as long as they may.
type stuckStore struct{ TokenStore }

func (stuckStore) Create(ctx context.Context, _ string, _ []byte, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestExchangeEnds: whatever a callback waits for, it is answered within the
// time of an exchange. Each of the calls in it has a bound of its own, which
// would add up.
func TestExchangeEnds(t *testing.T) {
	for name, test := range map[string]struct {
		block  func(t *testing.T, b *bench)
		reason reason
	}{
		"the store": {func(_ *testing.T, b *bench) { b.store = stuckStore{b.store} }, storeUnavailable},
		"the network's turn": {func(t *testing.T, b *bench) {
			// of clients without an address, as a bench's are
			for range maxClientExchanges {
				if _, err := b.auth.clients.Take(t.Context(), netip.Prefix{}); err != nil {
					t.Error(err)
				}
			}
		}, tooManyLogins},
		"a slot": {func(t *testing.T, b *bench) {
			hold := make(chan struct{})
			t.Cleanup(func() { close(hold) })
			for i := range maxExchanges {
				b.auth.exchanges.Begin(strconv.Itoa(i), time.Hour, func(context.Context) (any, error) {
					<-hold
					return nil, nil
				})
			}
			synctest.Wait()
		}, tooManyLogins},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.Handler = anotherNode(b.Handler) // with flights of its own
			v := visitor{}
			callback := v.depart(t, b, "/page")
			synctest.Test(t, func(t *testing.T) {
				test.block(t, b)
				defer b.auth.CloseIdleConnections() // a bubble waits for its goroutines
				start := time.Now()
				w, _ := v.ask(t, b.Handler, callback)
				if w.Code < http.StatusBadRequest || !strings.Contains(w.Body.String(), string(test.reason)) {
					t.Errorf("%d %s", w.Code, w.Body)
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
