package flight

import (
	"net/netip"
	"sync"
	"time"
)

// maxBudgetNetworks bounds how many networks a Budget counts in a minute. Further networks
// are not limited: a flood from so many cannot be stopped one by one.
const maxBudgetNetworks = 1 << 16

// Budget counts how much each network has spent in the current minute.
type Budget struct {
	// Most is how much a network may spend in a minute.
	Most int

	mu    sync.Mutex
	began time.Time
	spent map[netip.Prefix]int
}

// Wait returns how long a network has to wait, 0 if it has not spent its budget.
func (b *Budget) Wait(network netip.Prefix, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left(network, now)
}

// left is Wait for a caller that holds b.mu.
func (b *Budget) left(network netip.Prefix, now time.Time) time.Duration {
	age := now.Sub(b.began)
	if age < 0 || age >= time.Minute || b.spent[network] < b.Most {
		return 0
	}
	return time.Minute - age
}

// Take notes that a network has spent one, unless it has spent its budget. Then it returns
// how long the network has to wait.
func (b *Budget) Take(network netip.Prefix, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait = b.left(network, now); wait == 0 {
		b.spend(network, now)
	}
	return wait
}

// Spend notes that a network has spent one.
func (b *Budget) Spend(network netip.Prefix, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spend(network, now)
}

// spend is Spend for a caller that holds b.mu.
func (b *Budget) spend(network netip.Prefix, now time.Time) {
	if age := now.Sub(b.began); age < 0 || age >= time.Minute {
		b.began, b.spent = now, make(map[netip.Prefix]int)
	}
	if _, known := b.spent[network]; known || len(b.spent) < maxBudgetNetworks {
		b.spent[network]++
	}
}
