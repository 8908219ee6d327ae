package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/cluster"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const (
	visitors = 100 // open five pages a second each
	leavers  = 100 // sign out one after the other around the moment of the kill
	quiet    = 5 * time.Second
)

// failover is one run.
type failover struct {
	cluster.Owner
	w        *cluster.World
	visitors []*cluster.Browser

	mu      sync.Mutex
	killed  time.Time
	answers map[string]int // since the kill, until everybody was served again
	pending map[string]int // those since the last answer that was no page
	served  map[int]bool   // visitors since then
	lastBad time.Time
	hurt    map[int]bool // visitors who did not get a page
	lost    map[int]bool // visitors who were told to sign in again
}

func (f *failover) run(start func(cluster.Owner) cluster.Topology) {
	binary, err := cluster.Build(f.Context(), f.TempDir())
	if err != nil {
		f.Fatalf("%v", err)
	}
	topology := start(f)
	f.w = cluster.NewWorld(f, cluster.Config{Caddy: binary, Nodes: 2, Store: topology.Store}).Start()
	f.w.Sim.Set(func(s *simulator.Settings) { s.TokenLifetime, s.Rotate = 5*time.Second, true })
	f.visitors = f.signIn(visitors)
	leaving := f.signIn(leavers)
	thieves := make([]*cluster.Browser, leavers)
	for i, b := range leaving {
		thieves[i] = b.Stolen()
	}

	using, stop := context.WithCancel(f.Context())
	var wg sync.WaitGroup
	f.Cleanup(wg.Wait)
	f.Cleanup(stop)
	for i, b := range f.visitors {
		wg.Go(func() { f.use(using, i, b) })
	}
	left := f.leave(leaving, topology.Primary)
	cluster.Await(f, "the failover to be over", f.over)
	stop()
	wg.Wait()
	f.report(left, thieves)
}

func (f *failover) signIn(n int) []*cluster.Browser {
	browsers := make([]*cluster.Browser, n)
	for i := range browsers {
		browsers[i] = f.w.Browser()
		if err := browsers[i].SignIn(f.Context(), f.w.Front, f.w.Front); err != nil {
			f.Fatalf("%v", err)
		}
	}
	return browsers
}

// use opens pages and counts the answers.
func (f *failover) use(ctx context.Context, i int, b *cluster.Browser) {
	for ctx.Err() == nil {
		a, err := b.Fetch(ctx, f.w.Front+"/page")
		if ctx.Err() == nil {
			f.count(i, a, err)
		}
		if err == nil && a.Status == http.StatusUnauthorized {
			return
		}
		pause := time.NewTimer(time.Duration(100+rand.IntN(200)) * time.Millisecond) //nolint:gosec // random, not secret
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

func (f *failover) count(i int, a *cluster.Answer, err error) {
	what := "no answer"
	if err == nil {
		what = fmt.Sprintf("%d %s", a.Status, a.Reason)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.killed.IsZero() {
		return
	}
	f.pending[what]++
	if err == nil && a.Status == http.StatusOK {
		f.served[i] = true
		return
	}
	for what, n := range f.pending {
		f.answers[what] += n
	}
	clear(f.pending)
	clear(f.served)
	f.lastBad, f.hurt[i] = time.Now(), true
	if err == nil && a.Status == http.StatusUnauthorized {
		f.lost[i] = true
	}
}

// leave signs visitors out, one after the other. When half of them are gone it
// kills the primary. It returns whose logout was confirmed.
func (f *failover) leave(leaving []*cluster.Browser, primary *cluster.Redis) (left []int) {
	for i, b := range leaving {
		if i == len(leaving)/2 {
			go func() {
				f.begin()
				primary.Kill()
			}()
		}
		a, err := b.SignOut(f.Context(), f.w.Front)
		if err == nil && a.Status == http.StatusSeeOther {
			left = append(left, i)
		}
	}
	return left
}

// begin begins to count.
func (f *failover) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.killed = time.Now()
	f.lastBad = f.killed
	f.answers, f.pending = make(map[string]int), make(map[string]int)
	f.served, f.hurt, f.lost = make(map[int]bool), make(map[int]bool), make(map[int]bool)
}

// over reports whether every visitor who still has a session has been served
// for some time.
func (f *failover) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.killed.IsZero() && len(f.served)+len(f.lost) == len(f.visitors) && time.Since(f.lastBad) > quiet
}

func (f *failover) report(left []int, thieves []*cluster.Browser) {
	undone := 0
	for _, i := range left {
		if f.signedIn(thieves[i]) {
			undone++
		}
	}
	fmt.Printf("a primary was killed under the traffic of %d visitors; one that is silent for 2s is replaced\n", len(f.visitors))
	fmt.Printf("all visitors were served again after %v; until then\n", f.lastBad.Sub(f.killed).Round(10*time.Millisecond))
	for _, what := range slices.Sorted(maps.Keys(f.answers)) {
		fmt.Printf("\t%5d requests were answered with %s\n", f.answers[what], what)
	}
	fmt.Printf("visitors who noticed: %d of %d\n", len(f.hurt), len(f.visitors))
	fmt.Printf("sessions lost: %d of %d\n", len(f.lost), len(f.visitors))
	fmt.Printf("logouts undone: %d of %d that were confirmed\n", undone, len(left))
}

func (f *failover) signedIn(b *cluster.Browser) bool {
	a, err := b.Fetch(f.Context(), f.w.Front+"/page")
	if err != nil || (a.Status != http.StatusOK && a.Status != http.StatusUnauthorized) {
		f.Fatalf("%v %v", a, err)
	}
	return a.Status == http.StatusOK
}
