package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// measureRedisMemory is what sessions occupy in Redis. A login leaves two keys
// behind: the session, and for half an hour the claim that its code was used.
// Only all of them together can be told from what Redis occupies, so that a
// sample of the keys says which share is whose.
func measureRedisMemory(ctx context.Context, o *options, t *table) error {
	b, err := openBacking(ctx, o, storeRedis, 0)
	if err != nil {
		return err
	}
	defer b.stop()
	c, err := dialRedis(b.redis.Address)
	if err != nil {
		return err
	}
	defer c.close()
	before, err := redisUse(c)
	if err != nil {
		return err
	}
	filled, err := startFilled(ctx, o, &process{Address: "127.0.0.1:1"}, b, o.sessions)
	if err != nil {
		return err
	}
	defer filled.process.stop()
	after, err := redisUse(c)
	if err != nil {
		return err
	}
	bytes, keys := float64(after.bytes-before.bytes), float64(after.keys-before.keys)
	sessions := float64(o.sessions)
	t.note(fmt.Sprintf("memory of Redis for a login, at %d; a part of it lasts half an hour only", o.sessions),
		fmt.Sprintf("%.0f bytes: %.2f keys of %.0f bytes on average", bytes/sessions, keys/sessions, bytes/keys))
	session, claim, err := keySizes(c)
	if err != nil {
		return err
	}
	t.note("of which the session's key and the claim's, which lasts half an hour, by MEMORY USAGE (without their share of Redis's tables)",
		fmt.Sprintf("%d bytes and %d bytes", session, claim))
	return nil
}

// redisMemory is what a Redis server holds, and has done.
type redisMemory struct{ bytes, keys, tracked, commands int64 }

func redisUse(c *redisClient) (redisMemory, error) {
	memory, err := c.info("memory")
	if err != nil {
		return redisMemory{}, err
	}
	stats, err := c.info("stats")
	if err != nil {
		return redisMemory{}, err
	}
	keys, err := c.number("DBSIZE")
	use := redisMemory{keys: keys}
	for text, n := range map[string]*int64{
		memory["used_memory"]:             &use.bytes,
		stats["tracking_total_keys"]:      &use.tracked,
		stats["total_commands_processed"]: &use.commands,
	} {
		var failed error
		*n, failed = strconv.ParseInt(text, 10, 64)
		err = errors.Join(err, failed)
	}
	return use, err
}

// keySizes is what a session's key and a claim's occupy, by a sample of the
// keys. A claim lasts half an hour and a session longer.
func keySizes(c *redisClient) (session, claim int64, err error) {
	var sum, count [2]int64
	for range 1000 {
		key, err := c.do("RANDOMKEY")
		if err != nil {
			return 0, 0, err
		}
		bytes, err := c.number("MEMORY", "USAGE", key)
		if err != nil {
			return 0, 0, err
		}
		ttl, err := c.number("PTTL", key)
		if err != nil {
			return 0, 0, err
		}
		kind := 0
		if ttl <= (31 * time.Minute).Milliseconds() {
			kind = 1
		}
		sum[kind] += bytes
		count[kind]++
	}
	return sum[0] / max(1, count[0]), sum[1] / max(1, count[1]), nil
}
