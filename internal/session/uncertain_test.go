package session

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// network is one of many.
func network(i int) netip.Prefix {
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], uint32(i)) //nolint:gosec // small numbers
	return netip.PrefixFrom(netip.AddrFrom4(address), 32)
}

// TestUncertainClaims: a network has a share, and of all together the oldest is
// forgotten, so that many networks do not close logins for others.
func TestUncertainClaims(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var u uncertainClaims
	forgotten := 0
	forget := func(context.Context) { forgotten++ }
	add := func(network netip.Prefix, at time.Time) {
		for _, forget := range u.add(network, at, forget) {
			forget(t.Context())
		}
	}
	for i := range maxNetworkUncertain {
		if wait := u.wait(network(0), now); wait != 0 {
			t.Fatalf("over after %d: %v", i, wait)
		}
		add(network(0), now)
	}
	if wait := u.wait(network(0), now.Add(time.Minute)); wait != uncertainClaimLifetime-time.Minute {
		t.Errorf("its share used up it waits for %v", wait)
	}
	if wait := u.wait(network(1), now); wait != 0 {
		t.Errorf("another network waits for %v", wait)
	}
	later := now.Add(time.Minute)
	for i := range maxUncertain {
		add(network(1+i), later)
	}
	if forgotten != maxNetworkUncertain || len(u.claims) != maxUncertain || u.wait(network(0), later) != 0 {
		t.Errorf("%d are forgotten, %d are left", forgotten, len(u.claims))
	}
	if u.wait(network(1), later.Add(uncertainClaimLifetime)); len(u.claims) != 0 || len(u.of) != 0 {
		t.Errorf("%d of %d networks are left after their time", len(u.claims), len(u.of))
	}
	add(network(1), later)
	if u.wait(network(1), now.Add(-time.Hour)); len(u.claims) != 0 {
		t.Error("a clock that was set back keeps them")
	}
}

// TestBudgetAndTheSameCallback: a callback that comes again while its exchange is
// under way waits for it, also when its network has used up its budget meanwhile.
func TestBudgetAndTheSameCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewShared("http://127.0.0.1:1")
		m := &Manager{Shared: a, Now: time.Now, Observer: nobody{}}
		defer func() { _ = a.Destruct() }()
		network, release := netip.MustParsePrefix("192.0.2.1/32"), make(chan struct{})
		answers := make(chan *exchangeResult, 2)
		ask := func() {
			got, err := m.exchangeOnce(t.Context(), "a claim", network, func(context.Context) (*exchangeResult, error) {
				<-release
				return new(exchangeResult), nil
			})
			if err != nil {
				t.Error(err)
			}
			answers <- got
		}
		go ask()
		synctest.Wait()
		for range maxRefusals {
			a.refusals.Spend(network, time.Now())
		}
		go ask()
		synctest.Wait()
		close(release)
		if one, two := <-answers, <-answers; one == nil || one != two {
			t.Errorf("%p and %p", one, two)
		}
	})
}
