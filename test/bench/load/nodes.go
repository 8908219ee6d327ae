package main

import (
	"context"
	"fmt"
	"runtime"
)

// maxNodes is how many Caddys share one Redis at most.
const maxNodes = 3

// nodesScore is what some nodes did together in one round.
type nodesScore struct {
	throughput float64 // requests per second
	// processor time per request, in microseconds
	cpu, redis float64
	// growth is cpu over that of one node in the same round.
	growth float64
}

// measureNodes is what a request costs when one, two and three Caddys with the
// same sessions serve them, each on one processor at most. On one machine they
// do not serve more together than it has processors for; so what shows whether
// nodes get in each other's way is what a request costs. Bare Caddys, as many,
// show what of that is the machine's doing.
func measureNodes(ctx context.Context, o *options, t *table) error {
	upstream, err := start(ctx, roleUpstream, 1, nil)
	if err != nil {
		return err
	}
	defer upstream.stop()
	b, err := openBacking(ctx, o, storeRedis, 0)
	if err != nil {
		return err
	}
	defer b.stop()
	ours, bare, err := startNodes(ctx, o, upstream, b)
	defer func() {
		for _, c := range append(ours, bare...) {
			c.process.stop()
		}
	}()
	if err != nil {
		return err
	}
	var with, without [maxNodes][]nodesScore
	for round := range o.rounds + 1 {
		for nodes := 1; nodes <= maxNodes; nodes++ {
			for _, side := range []struct {
				contenders []*contender
				scores     *[maxNodes][]nodesScore
			}{{ours[:nodes], &with}, {bare[:nodes], &without}} {
				s, err := loadNodes(ctx, o, side.contenders, b.redis)
				if err != nil {
					return err
				}
				if round == 0 { // warms everything up
					continue
				}
				all := side.scores
				all[nodes-1] = append(all[nodes-1], s)
				all[nodes-1][round-1].growth = s.cpu / all[0][round-1].cpu
			}
		}
	}
	t.addNodes(with, without)
	return nil
}

// startNodes starts the most Caddys with the module and as many without, and
// signs visitors in at one of the former. It returns those it started also
// when it failed.
func startNodes(ctx context.Context, o *options, upstream *process, b *backing) (ours, bare []*contender, err error) {
	provider, err := start(ctx, roleProvider, 1, nil)
	if err != nil {
		return nil, nil, err
	}
	defer provider.stop()
	// the nodes have to agree on everything that a session depends on
	role := caddyRole{AuthServer: provider.Address, Upstream: upstream.Address, Store: b.store}
	for range maxNodes {
		p, err := start(ctx, roleTruelayer, 1, role)
		if err != nil {
			return ours, bare, err
		}
		ours = append(ours, &contender{process: p})
	}
	cookies, err := logIn(ctx, ours[0].process, provider, o.visitors)
	if err != nil {
		return ours, bare, err
	}
	for _, c := range ours {
		c.cookies = cookies
	}
	token, err := fetchToken(ctx, ours[0])
	if err != nil {
		return ours, bare, err
	}
	for range maxNodes {
		c, err := startBare(ctx, upstream, 1, token, cookies)
		if err != nil {
			return ours, bare, err
		}
		bare = append(bare, c)
	}
	return ours, bare, nil
}

// loadNodes loads all nodes at the same time for one round.
func loadNodes(ctx context.Context, o *options, nodes []*contender, redis *process) (nodesScore, error) {
	c, err := gather(o, nodes...)
	if err != nil {
		return nodesScore{}, err
	}
	defer c.leave()
	before, err := redis.cpu()
	if err != nil {
		return nodesScore{}, err
	}
	scores, err := c.round(ctx, o.roundTime, 0)
	if err != nil {
		return nodesScore{}, err
	}
	after, err := redis.cpu()
	if err != nil {
		return nodesScore{}, err
	}
	sum := score{usage: usage{redis: after - before}}
	for _, s := range scores {
		sum.requests += s.requests
		sum.cpu += s.cpu
	}
	return nodesScore{
		throughput: float64(sum.requests) / o.roundTime.Seconds(),
		cpu:        sum.perRequest(sum.cpu),
		redis:      sum.perRequest(sum.redis),
	}, nil
}

// addNodes adds the rows of nodes with the module and of bare ones.
func (t *table) addNodes(with, without [maxNodes][]nodesScore) {
	throughput := func(s nodesScore) float64 { return s.throughput }
	cpu := func(s nodesScore) float64 { return s.cpu }
	redis := func(s nodesScore) float64 { return s.redis }
	growth := func(s nodesScore) float64 { return s.growth }
	for i := range maxNodes {
		nodes := fmt.Sprintf("%d nodes with store redis", i+1)
		if i == 0 {
			nodes = "1 node with store redis"
		}
		ours, bare := with[i], without[i]
		t.note(fmt.Sprintf("%s: requests per second together; of bare ones", nodes),
			fmt.Sprintf("%.0f; %.0f (they share %d cores with the load, the application and Redis)",
				spreadOf(ours, throughput).median, spreadOf(bare, throughput).median, runtime.NumCPU()))
		t.note(nodes+": CPU per request; of bare ones; of Redis",
			spreadOf(ours, cpu).micros()+"; "+spreadOf(bare, cpu).micros()+"; "+spreadOf(ours, redis).micros())
		if i > 0 {
			t.note(nodes+": CPU per request, of that of 1 node; the same of bare ones",
				spreadOf(ours, growth).String()+"; "+spreadOf(bare, growth).String())
		}
	}
}
