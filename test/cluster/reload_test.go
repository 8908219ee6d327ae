package cluster

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestReload gives a node new configurations while it is busy, and ones that
// it has to refuse. Nobody may notice, and nothing may stay behind.
func TestReload(t *testing.T) {
	const (
		reloads = 50
		between = 200 // requests from one reload to the next
	)
	stores := maps.Clone(durableStores)
	stores["memory"] = func(*testing.T) string { return "memory" }
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 1, Store: store(t)}).Start()
			w.rotate(true)
			w.tokensLast(3 * time.Second)
			node := w.Nodes[0]
			refused := refusals(w)
			goroutines, _ := node.atRest(w)
			l := &load{t: t, w: w, browsers: w.signIn(t, 50)}
			l.begin()
			l.await(2 * between)
			l.reload(-1)
			l.end()
			_, heap := node.atRest(w) // with all that is made once

			random := random(0)
			w.Auth.Linger(func() time.Duration { return time.Duration(random.IntN(200)) * time.Millisecond })
			hold := make(chan struct{})
			began, requests := time.Now(), l.answered.Load()
			l.begin()
			for i := range reloads {
				l.await(between)
				switch i {
				case reloads / 5:
					w.Sim.Fail(simulator.Token, simulator.Fault{Times: 4, Hold: hold})
				case reloads / 4:
					close(hold)
				}
				if i%5 == 4 {
					l.refuse(refused[i/5%len(refused)])
				} else {
					l.reload(i)
				}
				w.Auth.NextEpoch()
			}
			l.await(between)
			l.end()
			w.Auth.Linger(nil)
			t.Logf("%.0f requests/s", float64(l.answered.Load()-requests)/time.Since(began).Seconds())
			l.check()
			l.leavesNothing(goroutines, heap)
		})
	}
}

// refusal is a configuration that has to be refused.
type refusal struct{ caddyfile, because string }

// refusals are wrong in ways that show at different times. Each begins with
// the block that is right.
func refusals(w *World) []refusal {
	good := w.Caddyfile(w.Nodes[0], "idle_timeout 1h")
	second := func(secret, redirectURI, store string) string {
		return good + fmt.Sprintf(`http://second.localhost:%d {
	truelayer {
		client_id     second
		client_secret %s
		redirect_uri  %s
		store         %s
	}
}
`, w.Nodes[0].port, secret, redirectURI, store)
	}
	const redirectURI = "https://example.com/truelayer"
	return []refusal{
		{second("secret", "http://example.com/truelayer", "memory"), "plain http"},
		{second("secret", redirectURI, "memory {\n max_sessions none\n}"), "max_sessions"},
		{second("{env.NOT_THERE}", redirectURI, "memory"), "client_secret: the placeholder"},
		{second("secret", redirectURI, "redis {\n address {env.NOT_THERE}\n}"), "address: the placeholder"},
		// all is well until it is started
		{good + w.App.server.URL + " {\n}\n", "address already in use"},
	}
}

// load is visitors who open pages at a steady rate, and others who sign in.
type load struct {
	t        *testing.T
	w        *World
	browsers []*Browser

	answered atomic.Int64
	failures atomic.Int64
	ending   chan struct{}
	running  sync.WaitGroup

	mu        sync.Mutex
	newcomers []*Browser
}

const requestsPerSecond = 1000

func (l *load) begin() {
	ending := make(chan struct{})
	l.ending = ending
	for i, b := range l.browsers {
		l.running.Go(func() {
			ticker := time.NewTicker(time.Second * time.Duration(len(l.browsers)) / requestsPerSecond)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
					l.open(b)
				case <-ending:
					return
				case <-l.t.Context().Done():
					return
				}
			}
		})
		if i < 2 {
			l.running.Go(func() { l.signInAgainAndAgain(ending) })
		}
	}
	l.t.Cleanup(l.running.Wait)
}

func (l *load) end() {
	close(l.ending)
	l.running.Wait()
}

func (l *load) open(b *Browser) {
	a, err := b.Fetch(l.t.Context(), l.w.Nodes[0].URL+"/page")
	if err == nil && a.Status == http.StatusOK {
		l.answered.Add(1)
		return
	}
	if l.t.Context().Err() == nil && l.failures.Add(1) < 10 {
		l.t.Errorf("%v %v", a, err)
	}
}

func (l *load) signInAgainAndAgain(ending chan struct{}) {
	for {
		select {
		case <-ending:
			return
		case <-l.t.Context().Done():
			return
		default:
		}
		b := l.w.Browser()
		if err := b.SignIn(l.t.Context(), l.w.Nodes[0].URL, l.w.Nodes[0].URL); err != nil {
			if l.t.Context().Err() == nil {
				l.t.Error(err)
			}
			return
		}
		l.mu.Lock()
		l.newcomers = append(l.newcomers, b)
		l.mu.Unlock()
	}
}

// await waits for a number of further answers.
func (l *load) await(n int64) {
	l.t.Helper()
	until := l.answered.Load() + n
	Await(l.t, "requests", func() bool { return l.answered.Load() >= until })
}

// configuration is what the node runs now.
func (l *load) configuration() string {
	l.t.Helper()
	text, err := get(l.t.Context(), l.w.Nodes[0].admin+"/config/")
	if err != nil {
		l.t.Fatal(err)
	}
	return text
}

func (l *load) reload(i int) {
	l.t.Helper()
	node, old := l.w.Nodes[0], l.configuration()
	if err := node.Reload(l.w.Caddyfile(node, fmt.Sprintf("idle_timeout %dm", 100+i))); err != nil {
		l.t.Fatal(err)
	}
	if l.configuration() == old {
		l.t.Error("the configuration did not change")
	}
}

func (l *load) refuse(r refusal) {
	l.t.Helper()
	old := l.configuration()
	if err := l.w.Nodes[0].Reload(r.caddyfile); err == nil || !strings.Contains(err.Error(), r.because) {
		l.t.Errorf("%v, instead of refused for %q:\n%s", err, r.because, r.caddyfile)
	}
	equal(l.t, "the configuration after one that was refused", l.configuration(), old)
}

// check looks for what got lost on the way.
func (l *load) check() {
	l.t.Helper()
	equal(l.t, "failed requests", l.failures.Load(), 0)
	for _, b := range l.newcomers {
		l.open(b)
	}
	crossed := make(map[string]int)
	for _, connection := range l.w.Auth.Connections() {
		equal(l.t, "refresh tokens refused", len(l.w.Auth.Denied(connection)), 0)
		for _, issue := range l.w.Auth.Issued(connection) {
			if issue.Left != issue.Came {
				crossed[issue.Grant]++
			}
		}
	}
	l.t.Logf("%d logins; token requests under way during a reload: %v", len(l.newcomers), crossed)
	if crossed["refresh_token"] == 0 || crossed["authorization_code"] == 0 {
		l.t.Error("no login or no refresh was under way during a reload")
	}
}

// atRest measures a node that has nothing to do.
func (c *Caddy) atRest(w *World) (goroutines, heap int) {
	c.owner.Helper()
	w.CloseIdleConnections()
	return c.Goroutines(), c.Heap()
}

// leavesNothing waits until the node is as small as it was.
func (l *load) leavesNothing(goroutines, heap int) {
	l.t.Helper()
	node := l.w.Nodes[0]
	var nowGoroutines, nowHeap int
	defer func() {
		l.t.Logf("goroutines before %d, after %d; heap before %.1f MB, after %.1f MB",
			goroutines, nowGoroutines, float64(heap)/1e6, float64(nowHeap)/1e6)
	}()
	Await(l.t, "the node to come to rest", func() bool {
		nowGoroutines, nowHeap = node.atRest(l.w)
		return nowGoroutines <= goroutines+20 && nowHeap <= heap*3/2+4<<20
	})
}
