package cluster

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestRedisIsKilled: while Redis is away visitors are told to come back;
// afterwards all of them are still signed in, with their tokens refreshed and
// replaced all the while.
func TestRedisIsKilled(t *testing.T) {
	redis := startRedis(t)
	w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 3, Store: redisStore(redis)}).Start()
	w.rotate(true)
	w.tokensLast(3 * time.Second)
	browsers := w.signIn(t, 300)
	// so slow that refreshes are under way when Redis goes
	random := random(1000)
	w.Auth.Linger(func() time.Duration { return time.Duration(random.IntN(300)) * time.Millisecond })
	v := &visits{t: t, w: w, browsers: browsers, answers: make([]tally, len(phases))}
	v.begin()
	v.await(before, 600)
	v.phase.Store(leaving)
	redis.Kill()
	// what a node remembers it may answer with until it notices
	w.awaitStatus(t, browsers[0], http.StatusServiceUnavailable)
	v.phase.Store(away)
	v.await(away, 600)
	v.phase.Store(returning)
	redis.Start()
	v.recovered()
	w.awaitStatus(t, browsers[0], http.StatusOK)
	v.phase.Store(after)
	v.await(after, 600)
	v.end()
	w.Auth.Linger(nil)
	for phase, name := range phases {
		t.Logf("%s: %v", name, &v.answers[phase])
	}
	for i, b := range browsers {
		a := must(t)(b.Fetch(t.Context(), w.Front+"/page"))
		if a.Status != http.StatusOK || len(w.Auth.Denied(a.Token.Subject)) > 0 {
			t.Errorf("visitor %d: %v; refresh tokens refused: %d", i, a, len(w.Auth.Denied(a.Token.Subject)))
		}
	}
}

// awaitStatus waits until each node answers a browser in one way.
func (w *World) awaitStatus(t *testing.T, b *Browser, status int) {
	t.Helper()
	for _, node := range w.Nodes {
		Await(t, "a node to notice", func() bool {
			return must(t)(b.Fetch(t.Context(), node.URL+"/page")).Status == status
		})
	}
}

// The phases of an outage.
const (
	before = iota
	leaving
	away
	returning
	after
)

var phases = []string{"before", "while Redis was killed", "while it was away", "while it came back", "after"}

// visits is visitors who open pages during an outage.
type visits struct {
	t        *testing.T
	w        *World
	browsers []*Browser
	answers  []tally // by phase

	phase   atomic.Int32
	back    atomic.Int64 // visitors who have seen a page after Redis was away
	ending  chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

func (v *visits) begin() {
	v.ending = make(chan struct{})
	v.t.Cleanup(v.end)
	for i, b := range v.browsers {
		v.running.Go(func() { v.visit(b, random(i)) })
	}
}

func (v *visits) end() {
	v.once.Do(func() { close(v.ending) })
	v.running.Wait()
}

// visit opens pages, in turn as a script and as a person does.
func (v *visits) visit(b *Browser, random *rand.Rand) {
	seen := false
	for n := 0; ; n++ {
		pause := time.NewTimer(time.Duration(random.IntN(1000)) * time.Millisecond)
		select {
		case <-pause.C:
		case <-v.ending:
			return
		}
		open, began := b.Fetch, v.phase.Load()
		if n%2 == 1 {
			open = b.Navigate
		}
		a, err := open(v.t.Context(), v.w.Front+"/page")
		if err != nil {
			if v.t.Context().Err() == nil {
				v.t.Error(err)
			}
			return
		}
		if v.check(a, began) && began >= returning && !seen {
			seen = true
			v.back.Add(1)
		}
	}
}

// check reports whether an answer is the application's.
func (v *visits) check(a *Answer, began int32) bool {
	unavailable := a.Status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "" &&
		a.Header.Get("Location") == ""
	answered := a.Status == http.StatusOK && a.Token.Subject != ""
	ended := v.phase.Load()
	switch {
	case len(a.Header["Set-Cookie"]) > 0, !answered && !unavailable,
		began == ended && (began == away && answered || (began == before || began == after) && unavailable):
		v.t.Errorf("from %s to %s: %v", phases[began], phases[ended], a)
	}
	what := "answered"
	if unavailable {
		what = "503 " + a.Reason
	}
	v.answers[began].add(what)
	return answered
}

// await waits for a number of answers in a phase.
func (v *visits) await(phase, n int) {
	v.t.Helper()
	Await(v.t, "visits", func() bool { return v.answers[phase].sum() >= n })
}

func (v *visits) recovered() {
	v.t.Helper()
	Await(v.t, "pages for everybody", func() bool { return int(v.back.Load()) == len(v.browsers) })
}

// TestRedisStandsStill: a Redis that hangs is as good as none.
func TestRedisStandsStill(t *testing.T) {
	redis := startRedis(t)
	w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 2, Store: redisStore(redis)}).Start()
	browsers := w.signIn(t, 20)
	redis.Freeze()
	var wg sync.WaitGroup
	for i, b := range browsers {
		wg.Go(func() {
			began := time.Now()
			a, err := b.Fetch(t.Context(), w.node(i).URL+"/page")
			unavailable(t, a, err)
			if i == 0 {
				t.Logf("told to come back after %v", time.Since(began).Round(time.Millisecond))
			}
		})
	}
	wg.Wait()
	redis.Thaw()
	w.awaitPages(t, browsers)
}

// TestRedisIsAway: Caddy starts, takes a new configuration and begins logins
// without Redis, and no code is spent before it is back.
func TestRedisIsAway(t *testing.T) {
	redis := startRedis(t)
	w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 2, Store: redisStore(redis)})
	w.Nodes[0].Start()
	member, newcomer := w.Browser(), w.Browser()
	if err := member.SignIn(t.Context(), w.Nodes[0].URL, w.Nodes[0].URL); err != nil {
		t.Fatal(err)
	}
	redis.Kill()
	w.Nodes[1].Start()
	for i, node := range w.Nodes {
		a, err := member.Fetch(t.Context(), node.URL+"/page")
		unavailable(t, a, err)
		if err := node.Reload(w.Caddyfile(node, "idle_timeout 3h")); err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		a, err = member.Fetch(t.Context(), node.URL+"/page")
		unavailable(t, a, err)
	}
	exchanges := w.Sim.CallsGrant("authorization_code")
	callback, err := newcomer.Approve(t.Context(), w.Nodes[1].URL)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newcomer.Navigate(t.Context(), w.Nodes[1].URL+callback)
	if err != nil || a.Status != http.StatusServiceUnavailable {
		t.Errorf("the callback: %v %v", a, err)
	}
	equal(t, "exchanges without a store", w.Sim.CallsGrant("authorization_code"), exchanges)
	redis.Start()
	w.awaitPages(t, []*Browser{member, member})
	Await(t, "the same callback to work", func() bool {
		a := must(t)(newcomer.Navigate(t.Context(), w.Nodes[1].URL+callback))
		return a.Status == http.StatusSeeOther && newcomer.HasSession()
	})
	w.awaitPages(t, []*Browser{newcomer, newcomer})
}

// unavailable checks the answer of a node that does not reach its store.
func unavailable(t *testing.T, a *Answer, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	if a.Status != http.StatusServiceUnavailable || a.Reason != "store_unavailable" ||
		a.Header.Get("Retry-After") == "" || len(a.Header["Set-Cookie"]) > 0 {
		t.Errorf("without a store: %v", a)
	}
}

// awaitPages waits until each browser gets its page, each from its node. Until
// then nothing but 503 is right.
func (w *World) awaitPages(t *testing.T, browsers []*Browser) {
	t.Helper()
	for i, b := range browsers {
		Await(t, "a page", func() bool {
			a := must(t)(b.Fetch(t.Context(), w.node(i).URL+"/page"))
			if a.Status != http.StatusOK {
				unavailable(t, a, nil)
			}
			return a.Status == http.StatusOK
		})
	}
}

// TestNodeStandsStill freezes a node while it refreshes. Another one takes
// over; what the frozen one does when it wakes up changes nothing any more.
func TestNodeStandsStill(t *testing.T) {
	w := NewWorld(t, Config{
		Caddy: caddyBinary, Nodes: 3, Store: redisStore(startRedis(t)), Options: "refresh_timeout 50s",
	}).Start()
	browsers := w.signInExpired(t, 2)
	stays, leaves := browsers[0], browsers[1]
	frozen, others := w.Nodes[0], w.Nodes[1:]
	hold := make(chan struct{})
	w.Sim.Fail(simulator.Token, simulator.Fault{Times: 2, Hold: hold})
	parked := make([]*Answer, len(browsers))
	var wg sync.WaitGroup
	for i, b := range browsers {
		wg.Go(func() {
			var err error
			if parked[i], err = b.Fetch(t.Context(), frozen.URL+"/page"); err != nil {
				t.Error(err)
			}
		})
	}
	Await(t, "two token requests", func() bool { return w.Sim.CallsGrant("refresh_token") == 2 })
	frozen.Freeze()
	thief := leaves.Stolen()
	equal(t, "status of the logout", must(t)(leaves.SignOut(t.Context(), others[0].URL)).Status, http.StatusSeeOther)
	began := time.Now()
	token := must(t)(stays.Fetch(t.Context(), others[0].URL+"/page")).Token
	t.Logf("another node had the token refreshed after %v", time.Since(began).Round(time.Millisecond))
	equal(t, "refreshes", w.Auth.Refreshes(token.Subject), 1)

	frozen.Thaw()
	close(hold)
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Logf("the frozen node's own answers: %v %v, and %v", parked[0], parked[0].Token == token, parked[1])
	equal(t, "refreshes, the frozen node's too", w.Auth.Refreshes(token.Subject), 2)
	equal(t, "the token that the frozen node sends", parked[0].Token, token)
	equal(t, "the answer to who has left", parked[1].Reason, "login_required")
	for _, node := range w.Nodes {
		equal(t, "the token", must(t)(stays.Fetch(t.Context(), node.URL+"/page")).Token, token)
		equal(t, "signed in after the logout", w.signedIn(t, thief, node), false)
	}
}
