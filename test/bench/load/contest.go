package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// contender is one side of a duel.
type contender struct {
	process *process
	// cookies are the visitors; each request picks one. Without any it is a
	// request without a cookie.
	cookies []string
}

// score is what a contender did in one round.
type score struct {
	requests int
	p99      time.Duration
	cpu      time.Duration
}

// ratio is a contender's score over another's of the same round.
type ratio struct {
	throughput, p99, cpu float64
	// base is the other's processor time per request, in microseconds: what
	// the ratio is of.
	base float64
}

func (s score) over(other score) ratio {
	perRequest := func(s score) float64 { return float64(s.cpu.Microseconds()) / float64(s.requests) }
	return ratio{
		throughput: float64(s.requests) / float64(other.requests),
		p99:        float64(s.p99) / float64(other.p99),
		cpu:        perRequest(s) / perRequest(other),
		base:       perRequest(other),
	}
}

// duel loads both contenders at the same time with as many connections, and
// returns one's scores over the other's. What disturbs a round, disturbs both.
func duel(ctx context.Context, o *options, one, other *contender) ([]ratio, error) {
	var wires [2][]*wire
	for i, c := range []*contender{one, other} {
		var err error
		if wires[i], err = dialAll(c.process.Address, o.connections); err != nil {
			return nil, err
		}
		defer hangUp(wires[i])
	}
	// the first round warms everything up and does not count
	ratios := make([]ratio, 0, o.rounds+1)
	for round := range o.rounds + 1 {
		var (
			scores [2]score
			errs   [2]error
			sides  sync.WaitGroup
		)
		begin := make(chan struct{})
		order := []int{round % 2, 1 - round%2}
		for _, i := range order {
			c := []*contender{one, other}[i]
			sides.Go(func() {
				<-begin
				scores[i], errs[i] = c.round(ctx, wires[i], o.roundTime)
			})
		}
		close(begin)
		sides.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		ratios = append(ratios, scores[0].over(scores[1]))
	}
	return ratios[1:], nil
}

// round sends requests on all connections, one after the other on each.
func (c *contender) round(ctx context.Context, wires []*wire, length time.Duration) (score, error) {
	before, err := c.process.cpu()
	if err != nil {
		return score{}, err
	}
	until := time.Now().Add(length)
	times, errs := make([][]time.Duration, len(wires)), make([]error, len(wires))
	var all sync.WaitGroup
	for i, w := range wires {
		all.Go(func() { times[i], errs[i] = c.visit(ctx, w, until) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return score{}, err
	}
	after, err := c.process.cpu()
	if err != nil {
		return score{}, err
	}
	sorted := slices.Sorted(slices.Values(slices.Concat(times...)))
	return score{requests: len(sorted), p99: sorted[len(sorted)*99/100], cpu: after - before}, nil
}

// visit is one connection's share of a round. It returns how long each request
// took.
func (c *contender) visit(ctx context.Context, w *wire, until time.Time) ([]time.Duration, error) {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	head := []byte(bench.Script("/account", ""))
	head = head[:len(head)-len("\r\n")]
	var (
		request []byte
		times   []time.Duration
	)
	for began := time.Now(); ; {
		request = append(request[:0], head...)
		if len(c.cookies) > 0 {
			request = append(request, "Cookie: "...)
			request = append(request, c.cookies[random.IntN(len(c.cookies))]...)
			request = append(request, "\r\n"...)
		}
		request = append(request, "\r\n"...)
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
