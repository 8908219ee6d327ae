package main

import (
	"strconv"
	"time"

	"github.com/prometheus/procfs"
)

// usage is what one side has used so far, or in a while.
type usage struct {
	cpu, redis time.Duration // processor time
	reads      int64         // of keys of Redis
}

func (u usage) minus(before usage) usage {
	return usage{u.cpu - before.cpu, u.redis - before.redis, u.reads - before.reads}
}

// usage is what Caddys and their Redis, if they have one, have used so far.
func (m *measurement) usage(r *redis, sites ...*process) (u usage) {
	for _, p := range sites {
		u.cpu += m.cpu(p.pid)
	}
	if r != nil {
		u.redis = m.cpu(r.pid)
		stats := r.Stats("stats")
		u.reads = m.number(stats["keyspace_hits"]) + m.number(stats["keyspace_misses"])
	}
	return u
}

// cpu is the processor time that a process has used so far, in its own code and
// in the kernel's for it.
func (m *measurement) cpu(pid int) time.Duration {
	process, err := procfs.NewProc(pid)
	m.check(err)
	stat, err := process.Stat()
	m.check(err)
	return time.Duration(stat.CPUTime() * float64(time.Second))
}

func (m *measurement) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	m.check(err)
	return n
}
