package session

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudget: what one network has used up the next minute brings back, and
// another network has its own.
func TestBudget(t *testing.T) {
	a, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
	now := time.Unix(1_800_000_000, 0)
	var b budget
	for range maxRefusals {
		if wait := b.wait(a, now); wait != 0 {
			t.Fatalf("over too early: %v", wait)
		}
		b.spend(a, now)
	}
	for _, test := range []struct {
		network netip.Prefix
		after   time.Duration
		want    time.Duration
	}{
		{a, 0, time.Minute},
		{a, 20 * time.Second, 40 * time.Second},
		{other, 0, 0},
		{a, time.Minute, 0},
		{a, -time.Hour, 0}, // the clock was set back
	} {
		if got := b.wait(test.network, now.Add(test.after)); got != test.want {
			t.Errorf("%s after %v waits for %v, want %v", test.network, test.after, got, test.want)
		}
	}
	b.spend(other, now.Add(time.Minute))
	if len(b.spent) != 1 {
		t.Errorf("%d networks are remembered", len(b.spent))
	}
}

// network is one of many.
func network(i int) netip.Prefix {
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], uint32(i)) //nolint:gosec // small numbers
	return netip.PrefixFrom(netip.AddrFrom4(address), 32)
}

// TestBudgetIsBounded: however many networks there are, not more are remembered,
// and those that are still have their budgets.
func TestBudgetIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var b budget
	for i := range 2 * maxBudgetNetworks {
		b.spend(network(i), now)
	}
	if len(b.spent) != maxBudgetNetworks {
		t.Errorf("%d networks are remembered", len(b.spent))
	}
	for range maxRefusals {
		b.spend(network(0), now)
	}
	if b.wait(network(0), now) == 0 {
		t.Error("one that is remembered has no budget any more")
	}
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
			a.refusals.spend(network, time.Now())
		}
		go ask()
		synctest.Wait()
		close(release)
		if one, two := <-answers, <-answers; one == nil || one != two {
			t.Errorf("%p and %p", one, two)
		}
	})
}
