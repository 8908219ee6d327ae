package main

import (
	"context"
	"fmt"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// measureScale is a Caddy with many sessions against one with few. Both are
// filled by real logins, and each request is that of a visitor picked at
// random. With many visitors most of them were last seen more than a minute
// ago, which the module writes down: that is part of what many sessions cost.
func measureScale(ctx context.Context, o *options, t *table) error {
	const few = 1000
	upstream, err := start(ctx, roleUpstream, 1, nil)
	if err != nil {
		return err
	}
	defer upstream.stop()
	// twice what is needed: each login takes two records
	role := caddyRole{Upstream: upstream.Address, Store: bench.MemoryStore(4 * o.sessions)}
	p, err := start(ctx, roleTruelayer, o.procs, role)
	if err != nil {
		return err
	}
	defer p.stop()
	var before, after memory
	if err := p.ask(ctx, "/memory", nil, &before); err != nil {
		return err
	}
	many := &contender{process: p}
	if err := many.signIn(ctx, o.sessions); err != nil {
		return err
	}
	if err := p.ask(ctx, "/memory", nil, &after); err != nil {
		return err
	}
	small, err := startFilled(ctx, o, upstream, &backing{store: bench.MemoryStore(4 * few)}, few)
	if err != nil {
		return err
	}
	defer small.process.stop()
	ratios, err := duel(ctx, o, many, small)
	if err != nil {
		return err
	}
	throughput := spreadOf(ratios, func(r ratio) float64 { return r.throughput })
	cpu := spreadOf(ratios, func(r ratio) float64 { return r.cpu })
	t.add(fmt.Sprintf("requests per second with %d sessions, of those with %d", o.sessions, few),
		"at least 0.95", throughput.String(), throughput.median >= 0.95)
	t.note(fmt.Sprintf("CPU per request with %d sessions, of that with %d", o.sessions, few), cpu.String())
	each := func(bytes int64) float64 { return float64(bytes) / float64(o.sessions) }
	t.note(fmt.Sprintf("memory of a session, at %d", o.sessions), fmt.Sprintf("%.0f bytes of heap (%.0f resident)",
		each(after.Heap-before.Heap), each(after.Resident-before.Resident)))
	return nil
}
