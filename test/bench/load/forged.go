package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// measureForged is what remains of session cookies that look like ours and
// were never given to anybody: in Caddy's memory, in Redis's, and in the table
// in which Redis keeps whom to tell of which keys. Anything kept of each would
// be a hundred bytes.
func measureForged(ctx context.Context, o *options, t *table) error {
	b, err := openBacking(ctx, o, storeRedis, 0)
	if err != nil {
		return err
	}
	defer b.stop()
	site, err := startFilled(ctx, o, &process{Address: "127.0.0.1:1"}, b, 1)
	if err != nil {
		return err
	}
	defer site.process.stop()
	c, err := dialRedis(b.redis.Address)
	if err != nil {
		return err
	}
	defer c.close()
	name, _, _ := strings.Cut(site.cookies[0], "=")
	forge := func() string {
		var secret [32]byte
		_, _ = rand.Read(secret[:])
		return name + "=" + base64.RawURLEncoding.EncodeToString(secret[:])
	}
	wires, err := dialAll(site.process.Address, o.connections)
	if err != nil {
		return err
	}
	defer hangUp(wires)
	look := func() (heap memory, redis redisMemory, err error) {
		if err = site.process.ask(ctx, "/memory", nil, &heap); err == nil {
			redis, err = redisUse(c)
		}
		return heap, redis, err
	}
	if err := flood(ctx, wires, 10_000, forge); err != nil {
		return err
	}
	heapBefore, before, err := look()
	if err != nil {
		return err
	}
	if err := flood(ctx, wires, o.anonymous, forge); err != nil {
		return err
	}
	heapAfter, after, err := look()
	if err != nil {
		return err
	}
	requests := float64(o.anonymous)
	heap, bytes, tracked := heapAfter.Heap-heapBefore.Heap, after.bytes-before.bytes, after.tracked-before.tracked
	t.add(fmt.Sprintf("growth of the heap over %d forged session cookies with store redis", o.anonymous), "none",
		fmt.Sprintf("%+d KB, %.3f bytes a request (resident memory %+d KB)",
			heap>>10, float64(heap)/requests, (heapAfter.Resident-heapBefore.Resident)>>10),
		heap < int64(o.anonymous))
	t.add("growth of Redis's memory and of its tracking table over these", "none",
		fmt.Sprintf("%+d KB; %+d entries", bytes>>10, tracked), bytes < int64(o.anonymous) && tracked == 0)
	commands := float64(after.commands-before.commands) / requests
	t.add("commands of Redis for each of these requests", "at most 1", fmt.Sprintf("%.3f", commands), commands < 1.01)
	return nil
}
