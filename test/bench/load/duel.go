package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// connections are how many each side of a duel gets.
const connections = 16

// side is one of the two in a duel: a Caddy, or several that share sessions.
type side struct {
	sites []*process
	redis *redis // where they keep the sessions, nil if elsewhere
	// cookies are the visitors'. Each request picks one.
	cookies []string
}

// score is what a side did in one round.
type score struct {
	requests int
	p99      time.Duration
	usage
}

// perRequest is a time that all requests took together, in microseconds each.
func (s score) perRequest(spent time.Duration) float64 {
	return float64(spent.Microseconds()) / float64(s.requests)
}

// ratio is a side's score over the other's of the same round.
type ratio struct {
	throughput, p99, cpu float64
	// base is the other's processor time per request, in microseconds.
	base float64
	// redis is Redis's processor time for one of the side's requests, in
	// microseconds, and reads is how often it was read for one.
	redis, reads float64
}

func (s score) over(other score) ratio {
	return ratio{
		throughput: float64(s.requests) / float64(other.requests),
		p99:        float64(s.p99) / float64(other.p99),
		cpu:        s.perRequest(s.cpu) / other.perRequest(other.cpu),
		base:       other.perRequest(other.cpu),
		redis:      s.perRequest(s.redis),
		reads:      float64(s.reads) / float64(s.requests),
	}
}

// duel loads both sides at the same time and returns one's scores over the
// other's, round by round. The first round warms up and does not count.
func (m *measurement) duel(one, other *side) []ratio {
	sides := [2]*side{one, other}
	var wires [2][]*wire
	for i, s := range sides {
		defer func() { hangUp(wires[i]) }()
		for n := range connections {
			w, err := dial(s.sites[n%len(s.sites)].address)
			m.check(err)
			wires[i] = append(wires[i], w)
		}
	}
	ratios := make([]ratio, 0, m.rounds+1)
	for number := range m.rounds + 1 {
		scores := m.round(sides, wires, number)
		ratios = append(ratios, scores[0].over(scores[1]))
	}
	return ratios[1:]
}

// round sends requests on all connections, one after the other on each. Which
// side begins alternates.
func (m *measurement) round(sides [2]*side, wires [2][]*wire, number int) (scores [2]score) {
	var before [2]usage
	for i, s := range sides {
		before[i] = m.usage(s.redis, s.sites...)
	}
	var (
		all    sync.WaitGroup
		mu     sync.Mutex // guards what follows
		times  [2][]time.Duration
		failed error
	)
	until := time.Now().Add(m.roundTime)
	for turn := range sides {
		i := (number + turn) % len(sides)
		for _, w := range wires[i] {
			all.Go(func() {
				took, err := visit(m.ctx, w, sides[i].cookies, until)
				mu.Lock()
				defer mu.Unlock()
				times[i] = append(times[i], took...)
				if failed == nil { // the others say the same, or what follows from it
					failed = err
				}
			})
		}
	}
	all.Wait()
	m.check(failed)
	for i, s := range sides {
		slices.Sort(times[i])
		n := len(times[i])
		scores[i] = score{requests: n, p99: times[i][n*99/100], usage: m.usage(s.redis, s.sites...).minus(before[i])}
	}
	return scores
}

// visit is one connection's share of a round. It returns how long each request
// took, and sends one at least.
func visit(ctx context.Context, w *wire, cookies []string, until time.Time) (times []time.Duration, err error) {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // random, not secret
	head := []byte(bench.Script("/account", ""))
	head = append(head[:len(head)-len("\r\n")], "Cookie: "...)
	var request []byte
	for began := time.Now(); ; {
		request = append(request[:0], head...)
		request = append(request, cookies[random.IntN(len(cookies))]...)
		request = append(request, "\r\n\r\n"...)
		if err := w.do(request, http.StatusOK); err != nil {
			return nil, err
		}
		ended := time.Now()
		times, began = append(times, ended.Sub(began)), ended
		if ctx.Err() != nil || !ended.Before(until) {
			return times, ctx.Err()
		}
	}
}
