package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// measureAnonymous is what remains in memory of visitors who never sign in:
// half of them open pages and are sent to the bank, half are scripts and get a
// 401. A record kept of each would be some hundred bytes.
func measureAnonymous(ctx context.Context, o *options, t *table) error {
	provider, err := start(ctx, roleProvider, 1, nil)
	if err != nil {
		return err
	}
	defer provider.stop()
	site, err := start(ctx, roleTruelayer, o.procs, caddyRole{
		AuthServer: provider.Address, Upstream: "127.0.0.1:1", Store: bench.MemoryStore(1000),
	})
	if err != nil {
		return err
	}
	defer site.stop()
	// connections occupy memory too, so they stay open throughout
	wires, err := dialAll(site.Address, o.connections)
	if err != nil {
		return err
	}
	defer hangUp(wires)
	var before, after memory
	if err := flood(ctx, wires, 10_000, noCookie); err != nil {
		return err
	}
	if err := site.ask(ctx, "/memory", nil, &before); err != nil {
		return err
	}
	if err := flood(ctx, wires, o.anonymous, noCookie); err != nil {
		return err
	}
	if err := site.ask(ctx, "/memory", nil, &after); err != nil {
		return err
	}
	heap, resident := after.Heap-before.Heap, after.Resident-before.Resident
	t.add(fmt.Sprintf("growth of the heap over %d requests without a session", o.anonymous), "none",
		fmt.Sprintf("%+d KB, %.3f bytes a request (resident memory %+d KB)",
			heap>>10, float64(heap)/float64(o.anonymous), resident>>10),
		heap < int64(o.anonymous))
	return nil
}

func noCookie() string { return "" }

// flood sends requests without a session on all connections, each with a
// cookie that is made for it, if any.
func flood(ctx context.Context, wires []*wire, requests int, cookie func() string) error {
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
				errs[i] = errors.Join(ctx.Err(), w.do([]byte(kind.request("/account", cookie())), kind.status))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
