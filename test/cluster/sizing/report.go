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

// row is a line of the table.
type row struct {
	what  string
	value func(*phase) string
}

// report prints a table with a column for each phase.
func (s *simulation) report(phases []*phase) {
	times := float64(s.fullSize) / float64(s.sessions)
	fmt.Fprintf(s.out, "%d nodes, %d primaries, %d sessions, %d visits of %v in progress, a page every %v; with an arrow, for %d sessions (× %.4g)\n\n",
		len(s.visitors.nodes), len(s.shards), s.sessions, len(s.visitors.slots), s.visit, s.pause, s.fullSize, times)
	line := func(cells ...string) { fmt.Fprintln(s.out, "| "+strings.Join(cells, " | ")+" |") }
	cells := make([]string, 1+len(phases))
	for i, p := range phases {
		cells[1+i] = p.name
	}
	line(cells...)
	fmt.Fprintln(s.out, strings.Repeat("|---", len(cells))+"|")
	for _, r := range slices.Concat(pageRows(times), redisRows(times), nodeRows) {
		cells[0] = r.what
		for i, p := range phases {
			cells[1+i] = r.value(p)
		}
		line(cells...)
	}
}

// rate is a row of how often something happens in a second.
func rate(what string, times float64, count func(*phase) int64) row {
	return row{what + " a second", func(p *phase) string {
		each := p.perSecond(count)
		return fmt.Sprintf("%.0f → %.0f", each, each*times)
	}}
}

// pageRows are about what visitors and TrueLayer notice.
func pageRows(times float64) []row {
	return []row{
		rate("pages served", times, func(p *phase) int64 { return int64(p.answers.served()) }),
		{"other answers", func(p *phase) string { return strings.Join(p.others(), ", ") }},
		{"the last of these after", func(p *phase) string {
			if p.answers.lastBad.IsZero() {
				return ""
			}
			return fmt.Sprintf("%.1f s", p.answers.lastBad.Sub(p.before.at).Seconds())
		}},
		{"half, 99 % and all pages came within", func(p *phase) string { return quantiles(p.answers.took) }},
		{"the same of nodes that started again", func(p *phase) string { return quantiles(p.answers.tookFresh) }},
		rate("refreshes", times, (*phase).allRefreshes),
		rate("logins", times, (*phase).allLogins),
	}
}

// redisRows are about what Redis does.
func redisRows(times float64) []row {
	return []row{
		rate("sessions written", times, (*phase).allWrites),
		rate("sessions read", times, (*phase).allReads),
		{"in the busiest " + part.String(), func(p *phase) string { return fmt.Sprintf("%.0f → %.0f", p.busiestReads, p.busiestReads*times) }},
		rate("invalidations", times, (*phase).allInvalidations),
		rate("commands", times, (*phase).allCommands),
		{"processors", func(p *phase) string {
			used := (p.after.redisCPU - p.before.redisCPU).Seconds() / p.after.at.Sub(p.before.at).Seconds()
			return fmt.Sprintf("%.3f → %.2f", used, used*times)
		}},
		{"memory at the end", func(p *phase) string {
			gigabytes := float64(p.after.redisMemory) / 1e9
			return fmt.Sprintf("%.2f → %.1f GB", gigabytes, gigabytes*times)
		}},
		{"sessions tracked, and nodes of each", func(p *phase) string {
			tracked := float64(p.after.trackedKeys)
			return fmt.Sprintf("%.0f → %.0f, %.2f", tracked, tracked*times, float64(p.after.trackedClients)/max(tracked, 1))
		}},
	}
}

// nodeRows are about the Caddys.
var nodeRows = []row{
	{"CPU of Caddy for a page", func(p *phase) string {
		return fmt.Sprintf("%.0f µs", float64(p.processor().Microseconds())/float64(max(p.answers.served(), 1)))
	}},
	{"resident memory of a node, the smallest and the largest", func(p *phase) string {
		return fmt.Sprintf("%d to %d MB", slices.Min(p.after.resident)/1e6, slices.Max(p.after.resident)/1e6)
	}},
	{"from a node's start to its first answer, the fastest and the slowest", func(p *phase) string {
		if len(p.starts) == 0 {
			return ""
		}
		return fmt.Sprintf("%d to %d ms", slices.Min(p.starts).Milliseconds(), slices.Max(p.starts).Milliseconds())
	}},
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
