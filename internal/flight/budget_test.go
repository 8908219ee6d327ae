package flight

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// TestBudget: what one network has used up the next minute brings back, and
// another network has its own.
func TestBudget(t *testing.T) {
	a, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
	now := time.Unix(1_800_000_000, 0)
	b := Budget{Most: 10}
	for range b.Most {
		if wait := b.Wait(a, now); wait != 0 {
			t.Fatalf("over too early: %v", wait)
		}
		b.Spend(a, now)
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
		if got := b.Wait(test.network, now.Add(test.after)); got != test.want {
			t.Errorf("%s after %v waits for %v, want %v", test.network, test.after, got, test.want)
		}
	}
	b.Spend(other, now.Add(time.Minute))
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
	b := Budget{Most: 10}
	for i := range 2 * maxBudgetNetworks {
		b.Spend(network(i), now)
	}
	if len(b.spent) != maxBudgetNetworks {
		t.Errorf("%d networks are remembered", len(b.spent))
	}
	for range b.Most {
		b.Spend(network(0), now)
	}
	if b.Wait(network(0), now) == 0 {
		t.Error("one that is remembered has no budget any more")
	}
}
