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

// measureDuel is Caddy with the module against Caddy without.
func measureDuel(ctx context.Context, o *options, t *table) error {
	upstream, err := start(ctx, roleUpstream, 1, nil)
	if err != nil {
		return err
	}
	defer upstream.stop()
	ours, err := startFilled(ctx, o, upstream, 1000)
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
		process, err := start(ctx, roleBare, o.procs, caddyRole{Upstream: upstream.Address, Token: token})
		if err != nil {
			return err
		}
		defer process.stop()
		bare[i] = &contender{process: process}
		// requests as long as ours, with a cookie that is the application's
		for _, cookie := range ours.cookies {
			bare[i].cookies = append(bare[i].cookies, strings.Replace(cookie, "truelayer", "something", 1))
		}
	}
	same, err := duel(ctx, o, bare[0], bare[1])
	if err != nil {
		return err
	}
	ratios, err := duel(ctx, o, ours, bare[0])
	if err != nil {
		return err
	}
	t.addDuel(ratios, same)
	t.note("length of the access token", fmt.Sprintf("%d bytes", len(token)-len("Bearer ")))
	return profile(ctx, o, ours, bare[0])
}

// addDuel adds the rows of a duel with a bare reverse_proxy, and of one
// between two of those.
func (t *table) addDuel(ratios, same []ratio) {
	throughput := func(r ratio) float64 { return r.throughput }
	cpu := func(r ratio) float64 { return r.cpu }
	rate, spent := spreadOf(ratios, throughput), spreadOf(ratios, cpu)
	t.add("requests per second, of those of a bare reverse_proxy", "at least 0.98", rate.String(), rate.median >= 0.98)
	t.add("CPU per request, of that of a bare reverse_proxy", "at most 1.03", spent.String(), spent.median <= 1.03)
	t.note("99th percentile of the time to the answer, of that of a bare reverse_proxy",
		spreadOf(ratios, func(r ratio) float64 { return r.p99 }).String())
	t.note("for comparison, one bare reverse_proxy against another: requests per second; CPU per request",
		spreadOf(same, throughput).String()+"; "+spreadOf(same, cpu).String())
	base := spreadOf(ratios, func(r ratio) float64 { return r.base })
	t.note("CPU per request of a bare reverse_proxy, which those ratios are of",
		fmt.Sprintf("%.0f µs (%.0f to %.0f)", base.median, base.least, base.greatest))
}

// startFilled starts a Caddy with the module and signs visitors in.
func startFilled(ctx context.Context, o *options, upstream *process, sessions int) (*contender, error) {
	// twice what is needed: each login takes two records
	role := caddyRole{Upstream: upstream.Address, Records: 4 * sessions}
	p, err := start(ctx, roleTruelayer, o.procs, role)
	if err != nil {
		return nil, err
	}
	c := &contender{process: p}
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
