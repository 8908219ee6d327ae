package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// A flood is requests that nobody is signed in for. Half of them are page
// views, which are sent to the bank, and half a script's, answered with 401.
// Anything kept of each would be a hundred bytes.

// floodAnonymously is what remains of visitors who never sign in.
func floodAnonymously(m *measurement) {
	site := m.startOurs(2, nowhere, m.startProvider(), bench.MemoryStore(1000))
	grown := m.flood(site, nil, func() string { return "" })
	m.table.addGrowth(fmt.Sprintf("growth of the heap over %d requests without a session", m.requests), grown, m.requests)
}

// floodWithForgedCookies is what remains of session cookies that look like ours
// and were never given to anybody: in Caddy's memory, in Redis's, and in the
// table in which Redis keeps whom to tell of which keys.
func floodWithForgedCookies(m *measurement) {
	provider := m.startProvider()
	config, redis := m.startStore(storeRedis, 0)
	site := m.startOurs(2, nowhere, provider, config)
	name, _, _ := strings.Cut(m.signIn(site, provider, 1)[0], "=")
	grown := m.flood(site, redis, func() string {
		var secret [32]byte
		_, _ = rand.Read(secret[:])
		return name + "=" + base64.RawURLEncoding.EncodeToString(secret[:])
	})
	m.table.addGrowth(fmt.Sprintf("growth of the heap over %d forged session cookies with store redis", m.requests), grown, m.requests)
	m.table.add("growth of Redis's memory and of its tracking table over these", "none",
		fmt.Sprintf("%+d KB; %+d entries", grown.redis>>10, grown.tracked), grown.redis < int64(m.requests) && grown.tracked == 0)
	commands := float64(grown.commands) / float64(m.requests)
	m.table.add("commands of Redis for each of these requests", "at most 1", fmt.Sprintf("%.3f", commands), commands < 1.01)
}

// held is what a Caddy and its Redis hold, and what the Redis has done.
type held struct {
	memory
	redis, tracked, commands int64
}

func (m *measurement) held(site *process, r *redis) held {
	now := held{memory: m.memory(site)}
	if r != nil {
		now.redis = m.number(r.Stats("memory")["used_memory"])
		stats := r.Stats("stats")
		now.tracked = m.number(stats["tracking_total_keys"])
		now.commands = m.number(stats["total_commands_processed"])
	}
	return now
}

// addGrowth adds the row of what grew in a Caddy.
func (t *table) addGrowth(what string, grown held, requests int) {
	t.add(what, "none", fmt.Sprintf("%+d KB, %.3f bytes a request (resident memory %+d KB)",
		grown.Heap>>10, float64(grown.Heap)/float64(requests), grown.Resident>>10), grown.Heap < int64(requests))
}

// flood sends requests, each with a cookie that is made for it, if any, and
// returns what grew. Connections occupy memory too, so they stay open throughout.
func (m *measurement) flood(site *process, r *redis, cookie func() string) held {
	wires := make([]*wire, 0, connections)
	defer func() { hangUp(wires) }()
	for range connections {
		w, err := dial(site.address)
		m.check(err)
		wires = append(wires, w)
	}
	m.check(m.send(wires, 10_000, cookie)) // warms up
	before := m.held(site, r)
	m.check(m.send(wires, m.requests, cookie))
	after := m.held(site, r)
	return held{
		memory{after.Heap - before.Heap, after.Resident - before.Resident},
		after.redis - before.redis, after.tracked - before.tracked, after.commands - before.commands,
	}
}

// send sends requests on all connections.
func (m *measurement) send(wires []*wire, requests int, cookie func() string) error {
	kinds := []struct {
		request func(target, cookie string) string
		status  int
	}{
		{bench.Navigation, http.StatusSeeOther},
		{bench.Script, http.StatusUnauthorized},
	}
	var begun atomic.Int64
	errs := make([]error, len(wires))
	var all sync.WaitGroup
	for i, w := range wires {
		all.Go(func() {
			for turn := begun.Add(1); turn <= int64(requests) && errs[i] == nil; turn = begun.Add(1) {
				kind := kinds[turn%2]
				errs[i] = errors.Join(m.ctx.Err(), w.do([]byte(kind.request("/account", cookie())), kind.status))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
