package session

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// uncertainClaimLifetime is how long a code may be valid. RFC 6749 section 4.1.2
	// recommends ten minutes at most; TrueLayer's codes are valid for five.
	uncertainClaimLifetime = 10 * time.Minute
	// maxNetworkUncertain bounds the uncertain claims of one network, and maxUncertain
	// those of all networks.
	maxNetworkUncertain = 256
	maxUncertain        = 8192
)

// uncertainClaims lists the uncertain claims in the store, oldest first. A claim is
// uncertain if the auth server may or may not have used its code.
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

// wait returns how long a network has to wait until it may have another uncertain claim,
// 0 if it may have one now.
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

// add adds a claim. If there are too many now, it removes the oldest and returns the
// functions that release them in the store. Refusing further logins instead would let
// an attacker with many networks block the logins of everybody.
func (u *uncertainClaims) add(network netip.Prefix, now time.Time, release func(context.Context)) (releases []func(context.Context)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dropExpired(now)
	if u.of == nil {
		u.of = make(map[netip.Prefix]int)
	}
	u.claims = append(u.claims, uncertainClaim{network, now, release})
	u.of[network]++
	for len(u.claims) > maxUncertain {
		releases = append(releases, u.claims[0].release)
		u.dropOldest()
	}
	return releases
}

// dropExpired drops the claims that have expired in the store. A claim from the future
// was added before the clock was set back, and is dropped as well.
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
	u.claims[0] = uncertainClaim{} // let the claim be freed
	u.claims = u.claims[1:]
	if u.of[network]--; u.of[network] == 0 {
		delete(u.of, network)
	}
}
