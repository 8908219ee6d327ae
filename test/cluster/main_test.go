package cluster

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

var (
	seed = flag.Uint64("seed", 0, "what random moments and delays are drawn from; 0 draws that too")

	caddyBinary string
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64() //nolint:gosec // random, not secret
	}
	directory, err := os.MkdirTemp("", "truelayer-cluster-")
	if err != nil {
		panic(err)
	}
	caddyBinary, err = Build(context.Background(), directory)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(directory)
	os.Exit(code)
}

// random is a source for one goroutine.
func random(stream int) *rand.Rand {
	return rand.New(rand.NewPCG(*seed, uint64(stream))) //nolint:gosec // a small number
}

func startRedis(t *testing.T) *Redis {
	t.Helper()
	redis := NewRedis(t)
	redis.Start()
	return redis
}

// redisStore is the Caddyfile's store for a Redis.
func redisStore(r *Redis) string { return "redis {\n\t\t\taddress " + r.Address() + "\n\t\t}" }

// storageStore is the one on a storage of Caddy's.
func storageStore(_ *testing.T, directory string) string {
	return "storage {\n\t\t\tstorage file_system " + directory + "\n\t\t}"
}

// durableStores are stores that survive a node, by name.
var durableStores = map[string]func(*testing.T) string{
	"redis":   func(t *testing.T) string { return redisStore(startRedis(t)) },
	"storage": func(t *testing.T) string { return storageStore(t, t.TempDir()) },
}

// signIn returns browsers with sessions. Their logins begin and end on
// different nodes.
func (w *World) signIn(t *testing.T, n int) []*Browser {
	t.Helper()
	browsers := make([]*Browser, n)
	slots := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range browsers {
		browsers[i] = w.Browser()
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := browsers[i].SignIn(t.Context(), w.node(i).URL, w.node(i+1).URL); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return browsers
}

// signInExpired returns browsers whose access tokens have just expired.
func (w *World) signInExpired(t *testing.T, n int) []*Browser {
	t.Helper()
	w.tokensLast(time.Second)
	browsers := w.signIn(t, n)
	w.tokensLast(time.Hour)
	expired := time.Now().Add(time.Second)
	Await(t, "the tokens to expire", func() bool { return time.Now().After(expired) })
	return browsers
}

func (w *World) tokensLast(d time.Duration) {
	w.Sim.Set(func(s *simulator.Settings) { s.TokenLifetime = d })
}

func (w *World) rotate(rotate bool) {
	w.Sim.Set(func(s *simulator.Settings) { s.Rotate = rotate })
}

// directories are the nodes' working directories, where their logs are.
func (w *World) directories() (directories []string) {
	for _, node := range w.Nodes {
		directories = append(directories, node.directory)
	}
	return directories
}

// node is the i-th node, round and round.
func (w *World) node(i int) *Caddy { return w.Nodes[i%len(w.Nodes)] }

// must is an answer that has to be there.
func must(t *testing.T) func(*Answer, error) *Answer {
	return func(a *Answer, err error) *Answer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// signedIn reports whether a node lets a browser through. Anything but yes
// and no is a failure.
func (w *World) signedIn(t *testing.T, b *Browser, node *Caddy) bool {
	t.Helper()
	a := must(t)(b.Fetch(t.Context(), node.URL+"/page"))
	if a.Status != 200 && a.Reason != "login_required" {
		t.Errorf("%s: %v", node.name, a)
	}
	return a.Status == 200
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// tally counts answers of many goroutines.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	c.counts[what]++
}

func (c *tally) sum() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, count := range c.counts {
		n += count
	}
	return n
}

func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimPrefix(fmt.Sprint(c.counts), "map")
}
