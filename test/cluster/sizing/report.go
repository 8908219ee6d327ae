package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// reportFill prints what the sessions take in Redis.
func (s *simulation) reportFill(before, after state, took time.Duration) {
	grown := after.redisMemory - before.redisMemory
	fmt.Fprintf(s.out, "%d sessions began in %v (%.0f a second); Redis holds %d keys in %.2f GB, %d bytes each\n\n",
		s.sessions, took.Round(time.Second), float64(s.sessions)/took.Seconds(), after.keys, float64(grown)/1e9, grown/int64(s.sessions))
}

// row is a line of the table. What is a rate has a second value for the full size.
type row struct {
	what  string
	value func(*phase) string
}

// report prints a table with a column for each phase.
func (s *simulation) report(phases []*phase) {
	times := float64(s.fullSize) / float64(s.sessions)
	rate := func(n func(*phase) int64) func(*phase) string {
		return func(p *phase) string {
			each := p.perSecond(n(p))
			return fmt.Sprintf("%.0f → %.0f", each, each*times)
		}
	}
	busiest := func(n func(*phase) int64) func(*phase) string {
		return func(p *phase) string { return fmt.Sprintf("%d → %.0f", n(p), float64(n(p))*times) }
	}
	rows := []row{
		{"pages served a second", rate(func(p *phase) int64 { return int64(p.answers.served) })},
		{"other answers", func(p *phase) string { return strings.Join(p.others(), ", ") }},
		{"the last of them after", func(p *phase) string {
			if p.answers.lastBad.IsZero() {
				return ""
			}
			return fmt.Sprintf("%.1f s", p.answers.lastBad.Sub(p.before.at).Seconds())
		}},
		{"time to a page, half, 99 % and all of them within", func(p *phase) string { return quantiles(p.answers.took) }},
		{"the same of nodes that started again", func(p *phase) string { return quantiles(p.answers.tookFresh) }},
		{"time from a node's start to its first answer", func(p *phase) string { return quantiles(p.starts) }},
		{"refreshes a second", rate((*phase).allRefreshes)},
		{"in the busiest second", busiest(func(p *phase) int64 { return p.refreshes })},
		{"logins a second", rate((*phase).allLogins)},
		{"writes of sessions a second", rate((*phase).allWrites)},
		{"reads of sessions a second", rate((*phase).allReads)},
		{"in the busiest second", busiest(func(p *phase) int64 { return p.reads })},
		{"invalidations a second", rate((*phase).allInvalidations)},
		{"commands of Redis a second", rate((*phase).allCommands)},
		{"processors of Redis", func(p *phase) string {
			used := (p.after.redisCPU - p.before.redisCPU).Seconds() / p.after.at.Sub(p.before.at).Seconds()
			return fmt.Sprintf("%.3f → %.2f", used, used*times)
		}},
		{"CPU of Redis for a command", func(p *phase) string {
			return fmt.Sprintf("%.1f µs", float64((p.after.redisCPU-p.before.redisCPU).Nanoseconds())/1000/float64(p.allCommands()))
		}},
		{"CPU of Caddy for a page", func(p *phase) string {
			return fmt.Sprintf("%.0f µs", float64(p.processor().Microseconds())/float64(max(p.answers.served, 1)))
		}},
		{"sessions that Redis tracks, and nodes to tell of each", func(p *phase) string {
			return fmt.Sprintf("%d → %.0f, %.2f", p.after.trackedKeys, float64(p.after.trackedKeys)*times, float64(p.after.trackedClients)/float64(max(p.after.trackedKeys, 1)))
		}},
		{"resident memory of a node, the smallest and the largest", func(p *phase) string {
			return fmt.Sprintf("%d to %d MB", slices.Min(p.after.resident)/1e6, slices.Max(p.after.resident)/1e6)
		}},
	}
	fmt.Fprintf(s.out, "%d nodes, %d primaries, %d sessions, %d visits of %v in progress, a page every %v; with an arrow, rates for %d sessions (× %.4g)\n\n",
		len(s.visitors.nodes), len(s.shards), s.sessions, s.inUse, s.visit, s.pause, s.fullSize, times)
	line := func(cells ...string) { fmt.Fprintln(s.out, "| "+strings.Join(cells, " | ")+" |") }
	cells := make([]string, 1+len(phases))
	for i, p := range phases {
		cells[1+i] = p.name
	}
	line(cells...)
	fmt.Fprintln(s.out, strings.Repeat("|---", len(cells))+"|")
	for _, r := range rows {
		cells[0] = r.what
		for i, p := range phases {
			cells[1+i] = r.value(p)
		}
		line(cells...)
	}
}

// quantiles are the times within which half, 99 of 100 and all of the pages came.
func quantiles(took []time.Duration) string {
	if len(took) == 0 {
		return ""
	}
	slices.Sort(took)
	milliseconds := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	return fmt.Sprintf("%.1f, %.1f, %.0f ms", milliseconds(took[len(took)/2]), milliseconds(took[len(took)*99/100]), milliseconds(took[len(took)-1]))
}
