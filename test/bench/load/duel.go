package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// measureHandler is the handler alone, as in the benchmark of that name.
func measureHandler(_ context.Context, _ *options, t *table) error {
	result := testing.Benchmark(bench.Session)
	if result.N == 0 {
		return errors.New("the benchmark failed; go test -run='^$' -bench=. ./test/bench says how")
	}
	spent := time.Duration(result.NsPerOp())
	t.add("the handler alone, time of a request with a session", "at most 3 µs",
		fmt.Sprintf("%.1f µs", float64(spent)/float64(time.Microsecond)), spent <= 3*time.Microsecond)
	t.add("the handler alone, allocations", "at most 12",
		strconv.FormatInt(result.AllocsPerOp(), 10), result.AllocsPerOp() <= 12)
	return nil
}

// duelWith is a Caddy with the module and a store against a Caddy without.
func duelWith(store string) measurement {
	return func(ctx context.Context, o *options, t *table) error {
		upstream, err := start(ctx, roleUpstream, 1, nil)
		if err != nil {
			return err
		}
		defer upstream.stop()
		b, err := openBacking(ctx, o, store, 4*o.visitors)
		if err != nil {
			return err
		}
		defer b.stop()
		ours, err := startFilled(ctx, o, upstream, b, o.visitors)
		if err != nil {
			return err
		}
		defer ours.process.stop()
		token, err := fetchToken(ctx, ours)
		if err != nil {
			return err
		}
		// two that are the same show what the duel itself gets wrong
		var bare [2]*contender
		for i := range bare {
			if bare[i], err = startBare(ctx, upstream, o.procs, token, ours.cookies); err != nil {
				return err
			}
			defer bare[i].process.stop()
		}
		same, err := duel(ctx, o, bare[0], bare[1])
		if err != nil {
			return err
		}
		ratios, err := duel(ctx, o, ours, bare[0])
		if err != nil {
			return err
		}
		t.addDuel(store, o.visitors, ratios, same)
		if store == storeMemory {
			t.note("length of the access token", fmt.Sprintf("%d bytes", len(token)-len("Bearer ")))
		}
		return profile(ctx, o, store, ours, bare[0])
	}
}

// addDuel adds the rows of a duel with a bare reverse_proxy, and of one
// between two of those.
func (t *table) addDuel(store string, visitors int, ratios, same []ratio) {
	throughput := func(r ratio) float64 { return r.throughput }
	cpu := func(r ratio) float64 { return r.cpu }
	rate, spent := spreadOf(ratios, throughput), spreadOf(ratios, cpu)
	with := with(store)
	if store != storeMemory { // how many decides what is at hand and what has to be fetched
		with += fmt.Sprintf(" and %d visitors", visitors)
	}
	rates := "requests per second" + with + ", of those of a bare reverse_proxy"
	costs := "CPU per request" + with + ", of that of a bare reverse_proxy"
	if store == storeMemory {
		t.add(rates, "at least 0.98", rate.String(), rate.median >= 0.98)
		t.add(costs, "at most 1.03", spent.String(), spent.median <= 1.03)
	} else {
		t.add(rates, "at least 0.93", rate.String(), rate.median >= 0.93)
		t.note(costs, spent.String())
	}
	t.note("99th percentile of the time to the answer"+with+", of that of a bare reverse_proxy",
		spreadOf(ratios, func(r ratio) float64 { return r.p99 }).String())
	t.note("for comparison, one bare reverse_proxy against another: requests per second; CPU per request",
		spreadOf(same, throughput).String()+"; "+spreadOf(same, cpu).String())
	base := spreadOf(ratios, func(r ratio) float64 { return r.base })
	t.note("CPU per request of a bare reverse_proxy, which those ratios are of",
		fmt.Sprintf("%.0f µs (%.0f to %.0f)", base.median, base.least, base.greatest))
	if store == storeRedis {
		t.note("CPU of Redis for each of our requests", spreadOf(ratios, func(r ratio) float64 { return r.redis }).micros())
		t.note("reads of Redis for each of our requests; few as long as Caddy remembers its visitors, and two for each write",
			spreadOf(ratios, func(r ratio) float64 { return r.reads }).String())
	}
}

// startBare starts a Caddy without the module. Its requests are as long as
// ours, with a cookie that is the application's.
func startBare(ctx context.Context, upstream *process, procs int, token string, cookies []string) (*contender, error) {
	p, err := start(ctx, roleBare, procs, caddyRole{Upstream: upstream.Address, Token: token})
	if err != nil {
		return nil, err
	}
	c := &contender{process: p}
	for _, cookie := range cookies {
		c.cookies = append(c.cookies, strings.Replace(cookie, "truelayer", "something", 1))
	}
	return c, nil
}

// startFilled starts a Caddy with the module and signs visitors in.
func startFilled(ctx context.Context, o *options, upstream *process, b *backing, sessions int) (*contender, error) {
	p, err := start(ctx, roleTruelayer, o.procs, caddyRole{Upstream: upstream.Address, Store: b.store})
	if err != nil {
		return nil, err
	}
	c := &contender{process: p, redis: b.redis}
	if err := c.signIn(ctx, sessions); err != nil {
		p.stop()
		return nil, err
	}
	return c, nil
}

// signIn fills the contender's store.
func (c *contender) signIn(ctx context.Context, sessions int) error {
	body, err := c.process.call(ctx, "/fill", url.Values{"sessions": {strconv.Itoa(sessions)}})
	if err != nil {
		return err
	}
	defer body.Close()
	c.cookies = make([]string, 0, sessions)
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		c.cookies = append(c.cookies, lines.Text())
	}
	if lines.Err() == nil && len(c.cookies) != sessions {
		return fmt.Errorf("%d of %d visitors were signed in", len(c.cookies), sessions)
	}
	return lines.Err()
}

// fetchToken returns what the application behind the module gets to see.
func fetchToken(ctx context.Context, c *contender) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.process.Address+"/token", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Cookie", c.cookies[0])
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	token, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("a visitor with a session was answered with %s", answer.Status)
	}
	return string(token), err
}
