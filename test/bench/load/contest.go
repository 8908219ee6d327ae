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
	// redis is where it keeps its sessions, nil if elsewhere.
	redis *process
	// cookies are the visitors; each request picks one. Without any it is a
	// request without a cookie.
	cookies []string
}

// score is what a contender did in one round.
type score struct {
	requests int
	p99      time.Duration
	usage
}

// perRequest is a time that all requests took together, in microseconds each.
func (s score) perRequest(spent time.Duration) float64 {
	return float64(spent.Microseconds()) / float64(s.requests)
}

// ratio is a contender's score over another's of the same round.
type ratio struct {
	throughput, p99, cpu float64
	// base is the other's processor time per request, in microseconds: what
	// the ratio is of.
	base float64
	// redis is what Redis needed for one of the contender's requests, in
	// microseconds too, reads how often it was read for one.
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

// duel loads both contenders at the same time with as many connections, and
// returns one's scores over the other's. What disturbs a round, disturbs both.
func duel(ctx context.Context, o *options, one, other *contender) ([]ratio, error) {
	sides, err := gather(o, one, other)
	if err != nil {
		return nil, err
	}
	defer sides.leave()
	// the first round warms everything up and does not count
	ratios := make([]ratio, 0, o.rounds+1)
	for round := range o.rounds + 1 {
		scores, err := sides.round(ctx, o.roundTime, round)
		if err != nil {
			return nil, err
		}
		ratios = append(ratios, scores[0].over(scores[1]))
	}
	return ratios[1:], nil
}

// contest is contenders that are loaded at the same time.
type contest struct {
	contenders []*contender
	wires      [][]*wire
}

// gather opens as many connections to each contender.
func gather(o *options, contenders ...*contender) (*contest, error) {
	c := &contest{contenders: contenders}
	for _, one := range contenders {
		wires, err := dialAll(one.process.Address, o.connections)
		if err != nil {
			c.leave()
			return nil, err
		}
		c.wires = append(c.wires, wires)
	}
	return c, nil
}

func (c *contest) leave() {
	for _, wires := range c.wires {
		hangUp(wires)
	}
}

// round loads all of the contenders; another one begins each time.
func (c *contest) round(ctx context.Context, length time.Duration, number int) ([]score, error) {
	var all sync.WaitGroup
	scores, errs := make([]score, len(c.contenders)), make([]error, len(c.contenders))
	begin := make(chan struct{})
	for i := range c.contenders {
		i = (number + i) % len(c.contenders)
		all.Go(func() {
			<-begin
			scores[i], errs[i] = c.contenders[i].round(ctx, c.wires[i], length)
		})
	}
	close(begin)
	all.Wait()
	return scores, errors.Join(errs...)
}

// round sends requests on all connections, one after the other on each.
func (c *contender) round(ctx context.Context, wires []*wire, length time.Duration) (score, error) {
	before, err := c.usage()
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
	after, err := c.usage()
	if err != nil {
		return score{}, err
	}
	sorted := slices.Sorted(slices.Values(slices.Concat(times...)))
	return score{
		requests: len(sorted),
		p99:      sorted[len(sorted)*99/100],
		usage:    after.minus(before),
	}, nil
}

// visit is one connection's share of a round. It returns how long each request
// took.
func (c *contender) visit(ctx context.Context, w *wire, until time.Time) ([]time.Duration, error) {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // random, not secret
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
