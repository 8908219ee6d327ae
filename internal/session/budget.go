package session

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxRefusals is how many codes of one network the token endpoint may refuse in
	// a minute before no more of its codes are sent there until the next minute. An
	// office whose people log in at the same time has hardly any; anybody can make
	// codes up, and each of them is a request with the client's secret.
	maxRefusals = 10
	// maxClientUncertain bounds the claims of one network of which nobody knows
	// whether their codes were used, and maxUncertain those of all networks.
	maxNetworkUncertain = 256
	maxUncertain        = 8192
	// maxSpenders bounds how many networks are remembered in a minute. What comes
	// from more of them than that no budget for each would hold.
	maxBudgetNetworks = 1 << 16
)

// budget counts, for each network, what it has used up in the minute under way.
type budget struct {
	mu    sync.Mutex
	began time.Time
	spent map[netip.Prefix]int
}

// over returns how long a network has to wait, 0 if it has something left.
func (b *budget) wait(network netip.Prefix, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	age := now.Sub(b.began)
	if age < 0 || age >= time.Minute || b.spent[network] < maxRefusals {
		return 0
	}
	return time.Minute - age
}

func (b *budget) spend(network netip.Prefix, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if age := now.Sub(b.began); age < 0 || age >= time.Minute {
		b.began, b.spent = now, make(map[netip.Prefix]int)
	}
	if _, known := b.spent[network]; known || len(b.spent) < maxBudgetNetworks {
		b.spent[network]++
	}
}

// uncertainClaims are the claims in the store of which nobody knows whether their
// codes were used, oldest first.
type uncertainClaims struct {
	mu     sync.Mutex
	claims []uncertainClaim
	of     map[netip.Prefix]int
}

type uncertainClaim struct {
	network netip.Prefix
	since   time.Time
	release func(context.Context)
}

// over returns how long a network has to wait until it may leave another one, 0
// if it may now.
func (u *uncertainClaims) wait(network netip.Prefix, now time.Time) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dropExpired(now)
	if u.of[network] < maxNetworkUncertain {
		return 0
	}
	for _, c := range u.claims {
		if c.network == network {
			return c.since.Add(uncertainClaimLifetime).Sub(now)
		}
	}
	return 0
}

// add notes one, and returns what forgets those that are too many now. Refusing
// further logins in their place would let many networks close them for all.
func (u *uncertainClaims) add(network netip.Prefix, now time.Time, forget func(context.Context)) (tooMany []func(context.Context)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dropExpired(now)
	if u.of == nil {
		u.of = make(map[netip.Prefix]int)
	}
	u.claims = append(u.claims, uncertainClaim{network, now, forget})
	u.of[network]++
	for len(u.claims) > maxUncertain {
		tooMany = append(tooMany, u.claims[0].release)
		u.dropOldest()
	}
	return tooMany
}

// drop drops those that have expired in the store. One that was noted in the
// future was noted before the clock was set back.
func (u *uncertainClaims) dropExpired(now time.Time) {
	for len(u.claims) > 0 {
		if age := now.Sub(u.claims[0].since); age >= 0 && age < uncertainClaimLifetime {
			return
		}
		u.dropOldest()
	}
}

func (u *uncertainClaims) dropOldest() {
	network := u.claims[0].network
	u.claims[0] = uncertainClaim{} // what it holds can be freed
	u.claims = u.claims[1:]
	if u.of[network]--; u.of[network] == 0 {
		delete(u.of, network)
	}
}
