package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
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

// tick is the unit of times in /proc. It is a hundredth of a second on every
// system that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the processor time that a process has used so far, in its own code and
// in the kernel's for it.
func (m *measurement) cpu(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	m.check(err)
	// the second field is the program's name in parentheses, which may hold spaces
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		m.check(errors.New("reading processor times: /proc/<pid>/stat has another form than expected"))
	}
	return time.Duration(m.number(fields[11])+m.number(fields[12])) * tick // utime and stime
}

func (m *measurement) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	m.check(err)
	return n
}
