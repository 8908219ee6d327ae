package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// state is what has been counted so far, and what is held now.
type state struct {
	at                   time.Time
	commands             map[string]int64 // of Redis, by name
	redisCPU             time.Duration
	caddyCPU             []time.Duration // of each node, 0 if it does not run
	refreshes, exchanges int64

	redisMemory, keys           int64
	trackedKeys, trackedClients int64   // keys, and the nodes that are told of their changes, summed up
	resident                    []int64 // memory of each node
}

func (s *simulation) state() state {
	now := state{at: time.Now(), commands: make(map[string]int64)}
	for _, shard := range s.shards {
		info, err := redisserver.Info(shard.Address(), "everything")
		s.check(err)
		for name, value := range info {
			if command, ok := strings.CutPrefix(name, "cmdstat_"); ok {
				calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
				now.commands[command] += s.number(calls)
			}
		}
		now.redisCPU += s.seconds(info["used_cpu_user"]) + s.seconds(info["used_cpu_sys"])
		now.redisMemory += s.number(info["used_memory"])
		if keys, _, found := strings.Cut(strings.TrimPrefix(info["db0"], "keys="), ","); found { // not if it is empty
			now.keys += s.number(keys)
		}
		now.trackedKeys += s.number(info["tracking_total_keys"])
		now.trackedClients += s.number(info["tracking_total_items"])
	}
	for _, node := range s.visitors.nodes {
		cpu, resident := node.Usage()
		now.caddyCPU = append(now.caddyCPU, cpu)
		if resident > 0 {
			now.resident = append(now.resident, resident)
		}
	}
	now.refreshes, now.exchanges = s.provider.refreshes.Load(), s.provider.exchanges.Load()
	return now
}

func (s *simulation) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	s.check(err)
	return n
}

func (s *simulation) seconds(text string) time.Duration {
	seconds, err := strconv.ParseFloat(text, 64)
	s.check(err)
	return time.Duration(seconds * float64(time.Second))
}

// phase is a part of the simulation, as it was measured.
type phase struct {
	name          string
	before, after state
	answers       *answers
	// busiestReads is how many sessions were read in a second, in the busiest part of the phase.
	busiestReads float64
	// starts is how long nodes took from their start to their first answer.
	starts []time.Duration
}

// measure measures a phase that goes on for some time after an event.
func (s *simulation) measure(name string, length time.Duration, event func()) *phase {
	s.Logf("%s, for %v", name, length)
	p := &phase{name: name, before: s.state(), answers: newAnswers()}
	s.visitors.answers.Store(p.answers)
	event()
	last := p.before
	for last.at.Sub(p.before.at) < length {
		s.sleep(min(part, length))
		now := s.state()
		p.busiestReads = max(p.busiestReads, (&phase{before: last, after: now}).perSecond((*phase).allReads))
		last = now
	}
	p.after = last
	s.visitors.answers.Store(newAnswers())
	if others := p.others(); len(others) > 0 {
		s.Logf("%s: %s", name, strings.Join(others, ", "))
	}
	return p
}

// part is how long the busiest part of a phase is.
const part = 5 * time.Second

// sleep waits, or ends the simulation if it is interrupted.
func (s *simulation) sleep(d time.Duration) {
	if !flight.Sleep(s.Context(), d) {
		s.Fatalf("%v", s.Context().Err())
	}
}

// perSecond is how often something happened in a second.
func (p *phase) perSecond(count func(*phase) int64) float64 {
	return float64(count(p)) / p.after.at.Sub(p.before.at).Seconds()
}

func (p *phase) calls(command string) int64 {
	return p.after.commands[command] - p.before.commands[command]
}

func (p *phase) allCommands() (n int64) {
	for command := range p.after.commands {
		n += p.calls(command)
	}
	return n - p.calls("info")
}

// allReads are the reads of sessions. Each script has one GET of its own.
func (p *phase) allReads() int64 { return p.calls("get") - p.calls("eval") - p.calls("evalsha") }

func (p *phase) allRefreshes() int64 { return p.after.refreshes - p.before.refreshes }

func (p *phase) allLogins() int64 { return p.after.exchanges - p.before.exchanges }

// allWrites are those of sessions: all scripts but the ones that give locks back. Those that
// came too late, and those that renew a lock, are among them, and few.
func (p *phase) allWrites() int64 {
	return p.calls("eval") + p.calls("evalsha") - p.allRefreshes()
}

// allInvalidations is computed, and an upper bound: Redis tells of a write the nodes of a
// tracked session.
func (p *phase) allInvalidations() int64 {
	return int64(float64(p.allWrites()) * float64(p.after.trackedClients) / float64(max(p.after.trackedKeys, 1)))
}

// processor is the time that the nodes have used.
func (p *phase) processor() (used time.Duration) {
	for i, after := range p.after.caddyCPU {
		used += max(0, after-p.before.caddyCPU[i])
	}
	return used
}

// others are the answers that were not a page.
func (p *phase) others() (text []string) {
	p.answers.mu.Lock()
	defer p.answers.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(p.answers.others)) {
		text = append(text, strconv.Itoa(p.answers.others[what])+" "+what)
	}
	return text
}
