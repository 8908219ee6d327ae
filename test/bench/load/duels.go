package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// duelWith is a duel of Caddys with the module and a store with as many without
// the module.
func duelWith(store string, nodes int) func(*measurement) {
	return func(m *measurement) {
		procs := 2 // all Caddys and the load share the machine
		if nodes > 1 {
			procs = 1
		}
		application, provider := m.startApplication(), m.startProvider()
		config, redis := m.startStore(store, 4*m.visitors)
		ours := &side{redis: redis}
		for range nodes {
			ours.sites = append(ours.sites, m.startOurs(procs, application.address, provider, config))
		}
		ours.cookies = m.signIn(ours.sites[0], provider, m.visitors)
		provider.Close() // its memory is not looked after during the duel
		token := m.token(ours.sites[0], ours.cookies[0])
		// two that are the same show what the duel itself gets wrong
		var bare [2]*side
		for i := range bare {
			bare[i] = &side{cookies: bareCookies(ours.cookies)}
			for range nodes {
				bare[i].sites = append(bare[i].sites, m.startBare(procs, application.address, token))
			}
		}
		same := m.duel(bare[0], bare[1])
		m.table.addDuel(store, nodes, m.visitors, m.duel(ours, bare[0]), same)
		if store == storeMemory {
			m.table.note("length of the access token", fmt.Sprintf("%d bytes", len(token)-len("Bearer ")))
		}
	}
}

// token returns what the application gets to see as Authorization of a visitor.
func (m *measurement) token(site *process, cookie string) string {
	r, err := http.NewRequestWithContext(m.ctx, http.MethodGet, "http://"+site.address+"/token", nil)
	m.check(err)
	r.Header.Set("Cookie", cookie)
	answer, err := http.DefaultClient.Do(r)
	m.check(err)
	defer answer.Body.Close()
	token, err := io.ReadAll(answer.Body)
	m.check(err)
	if answer.StatusCode != http.StatusOK {
		m.Fatalf("a visitor with a session was answered with %s", answer.Status)
	}
	return string(token)
}

// bareCookies are cookies of the application's own, as long as those.
func bareCookies(cookies []string) []string {
	bare := make([]string, len(cookies))
	for i, cookie := range cookies {
		bare[i] = strings.Replace(cookie, "truelayer", "something", 1)
	}
	return bare
}

// What the rows have of each round.
func throughput(r ratio) float64 { return r.throughput }
func p99(r ratio) float64        { return r.p99 }
func cpu(r ratio) float64        { return r.cpu }
func base(r ratio) float64       { return r.base }
func redisCPU(r ratio) float64   { return r.redis }
func redisReads(r ratio) float64 { return r.reads }

// addDuel adds the rows of a duel with a bare reverse_proxy, and of one between
// two of those.
func (t *table) addDuel(store string, nodes, visitors int, ratios, same []ratio) {
	with := with(store)
	if store != storeMemory { // how many decides what is at hand and what has to be fetched
		with += fmt.Sprintf(" and %d visitors", visitors)
	}
	where := ""
	if nodes > 1 {
		where = fmt.Sprintf("on %d nodes, ", nodes)
	}
	rates, costs := spreadOf(ratios, throughput), spreadOf(ratios, cpu)
	if store == storeMemory {
		t.add("requests per second, of those of a bare reverse_proxy", "at least 0.98", rates.String(), rates.median >= 0.98)
		t.add("CPU per request, of that of a bare reverse_proxy", "at most 1.03", costs.String(), costs.median <= 1.03)
	} else {
		t.add(where+"requests per second"+with+", of those of a bare reverse_proxy", "at least 0.93", rates.String(), rates.median >= 0.93)
		t.note(where+"CPU per request"+with+", of that of a bare reverse_proxy", costs.String())
	}
	t.note(where+"99th percentile of the time to the answer"+with+", of that of a bare reverse_proxy", spreadOf(ratios, p99).String())
	t.note("for comparison, one bare reverse_proxy against another: requests per second; CPU per request",
		spreadOf(same, throughput).String()+"; "+spreadOf(same, cpu).String())
	bare := spreadOf(ratios, base)
	t.note("CPU per request of a bare reverse_proxy, which those ratios are of",
		fmt.Sprintf("%.0f µs (%.0f to %.0f)", bare.median, bare.least, bare.greatest))
	if store == storeRedis {
		t.note("CPU of Redis for each of our requests", spreadOf(ratios, redisCPU).micros())
		t.note("reads of Redis for each of our requests; few as long as Caddy remembers its visitors, and two for each write",
			spreadOf(ratios, redisReads).String())
	}
}

// with names a store in a row of the table; the memory store, which is the
// default, goes without saying.
func with(store string) string {
	if store == storeMemory {
		return ""
	}
	return " with store " + store
}

// duelOfSizes is a duel of two Caddys with the module, one with many sessions
// and one with few. With many most visitors were last seen more than a minute
// ago, which the module writes down: that is part of what many sessions cost.
func duelOfSizes(m *measurement) {
	const few = 1000
	application := m.startApplication()
	var sides [2]*side
	for i, sessions := range []int{m.sessions, few} {
		provider := m.startProvider()
		// twice what is needed: each login takes two records
		site := m.startOurs(2, application.address, provider, bench.MemoryStore(4*sessions))
		sides[i] = &side{sites: []*process{site}, cookies: m.signIn(site, provider, sessions)}
		provider.Close()
	}
	ratios := m.duel(sides[0], sides[1])
	rates := spreadOf(ratios, throughput)
	m.table.add(fmt.Sprintf("requests per second with %d sessions, of those with %d", m.sessions, few),
		"at least 0.95", rates.String(), rates.median >= 0.95)
	m.table.note(fmt.Sprintf("CPU per request with %d sessions, of that with %d", m.sessions, few), spreadOf(ratios, cpu).String())
}
