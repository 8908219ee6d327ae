package main

import (
	"strconv"
	"time"
)

// usage is what a contender and its Redis have done so far, or in a while.
type usage struct {
	cpu, redis time.Duration // processor time
	reads      int64         // of keys of Redis
}

func (u usage) minus(before usage) usage {
	return usage{u.cpu - before.cpu, u.redis - before.redis, u.reads - before.reads}
}

func (c *contender) usage() (u usage, err error) {
	if u.cpu, err = c.process.cpu(); err != nil || c.redis == nil {
		return u, err
	}
	if u.redis, err = c.redis.cpu(); err != nil {
		return u, err
	}
	u.reads, err = redisReads(c.redis.Address)
	return u, err
}

// redisReads is how often a Redis server has looked up a key to read it.
func redisReads(address string) (int64, error) {
	c, err := dialRedis(address)
	if err != nil {
		return 0, err
	}
	defer c.close()
	stats, err := c.info("stats")
	if err != nil {
		return 0, err
	}
	hits, err := strconv.ParseInt(stats["keyspace_hits"], 10, 64)
	if err != nil {
		return 0, err
	}
	misses, err := strconv.ParseInt(stats["keyspace_misses"], 10, 64)
	return hits + misses, err
}
