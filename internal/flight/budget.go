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
	age := now.Sub(b.began)
	if age < 0 || age >= time.Minute || b.spent[network] < b.Most {
		return 0
	}
	return time.Minute - age
}

// Spend notes that a network has spent one.
func (b *Budget) Spend(network netip.Prefix, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if age := now.Sub(b.began); age < 0 || age >= time.Minute {
		b.began, b.spent = now, make(map[netip.Prefix]int)
	}
	if _, known := b.spent[network]; known || len(b.spent) < maxBudgetNetworks {
		b.spent[network]++
	}
}
