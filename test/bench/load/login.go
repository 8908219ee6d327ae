package main

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// nowhere is the application's address where no request gets so far.
const nowhere = "127.0.0.1:1"

// loginWith is the processor time that a login costs Caddy: the redirect to
// the bank, the callback with its token request, and the session. The provider
// is in the load's process and does not count.
func loginWith(store string) func(*measurement) {
	return func(m *measurement) {
		provider := m.startProvider()
		config, redis := m.startStore(store, 4*m.logins+1000)
		site := m.startOurs(2, nowhere, provider, config)
		m.signIn(site, provider, 200) // what only the first ones cost
		before, began := m.usage(redis, site), time.Now()
		m.signIn(site, provider, m.logins)
		spent, used := time.Since(began), m.usage(redis, site).minus(before)

		what := "CPU per login" + with(store) + ", the provider's not counted"
		each := used.cpu / time.Duration(m.logins)
		result := fmt.Sprintf("%.2f ms", each.Seconds()*1000)
		if redis != nil {
			result += fmt.Sprintf(", and %.3f ms of Redis", used.redis.Seconds()*1000/float64(m.logins))
		}
		result += fmt.Sprintf(" (at %.0f logins per second)", float64(m.logins)/spent.Seconds())
		if store == storeMemory {
			m.table.add(what, "at most 0.5 ms", result, each <= 500*time.Microsecond)
		} else {
			m.table.note(what, result)
		}
	}
}

// signIn signs visitors in over the network, a few at a time, and returns their
// cookies.
func (m *measurement) signIn(site *process, provider *bench.Provider, logins int) []string {
	const atOnce = 8
	// Not a client: what a redirect does is the visitor's own business here.
	transport := &http.Transport{MaxIdleConnsPerHost: atOnce}
	defer transport.CloseIdleConnections()
	visit := func(r *http.Request) (*http.Response, error) {
		r = r.WithContext(m.ctx)
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", site.address
		return transport.RoundTrip(r)
	}
	var (
		cookies = make([]string, logins)
		next    atomic.Int64
		errs    [atOnce]error
		all     sync.WaitGroup
	)
	for i := range atOnce {
		all.Go(func() {
			for turn := next.Add(1) - 1; turn < int64(logins) && errs[i] == nil; turn = next.Add(1) - 1 {
				cookies[turn], errs[i] = bench.Login(visit, provider.Grant)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		m.check(err)
	}
	return cookies
}
