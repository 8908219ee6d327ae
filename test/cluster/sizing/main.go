// Command sizing simulates a large site: sessions in a Redis Cluster, Caddys with the module
// in front, visitors who come and go, and prints what an operator sizes by. In turn
//
//   - the sessions begin, at times in the past, by the module's own code, and nodes read them;
//   - visits go on, each session on a node of its own;
//   - a third of the nodes is killed, as by kill -9;
//   - these nodes start again, with nothing in their memory;
//   - requests go to any node.
//
// It is run in the directory test/cluster, on Linux, and needs Debian's packages redis-server
// and redis-tools. It uses loopback addresses only and ends what it started:
//
//	go run ./sizing
//	go run ./sizing -sessions 4000000 -for 0s	only begins them, for Redis's memory
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/cluster"
)

const (
	idleTimeout = 8 * time.Hour // the module's defaults
	maxLifetime = 24 * time.Hour
	clientID    = "sandbox-sizing"
	scopes      = "verification offline_access"
	// redirectURI needs no port of the site's own: visitors take its path and query to a node.
	redirectURI = "http://localhost:1/truelayer"

	// preparation is how long it takes for each session, about, until the simulation starts.
	preparation = 700 * time.Microsecond
	atMost      = 2 * time.Hour
)

// options are the command's flags.
type options struct {
	sessions, inUse  int
	nodes, primaries int
	visit, pause     time.Duration
	token, delay     time.Duration
	warm, length     time.Duration
	fullSize         int
}

func main() {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "sizing:", err)
		os.Exit(2)
	}
	if !cluster.RunCommand("sizing", atMost, func(owner cluster.Owner) { _ = run(owner, o, os.Stdout) }) {
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("sizing", flag.ContinueOnError)
	flags.IntVar(&o.sessions, "sessions", 1_000_000, "`sessions` in Redis")
	flags.IntVar(&o.inUse, "in-use", 0, "`visits` in progress; 0 is a tenth of the sessions")
	flags.IntVar(&o.nodes, "nodes", 20, "`Caddys`")
	flags.IntVar(&o.primaries, "primaries", 3, "primaries of the Redis Cluster, at least 3")
	flags.DurationVar(&o.visit, "visit", 10*time.Minute, "how `long` a visit is on average")
	flags.DurationVar(&o.pause, "pause", time.Minute, "how `long` it is on average between two requests of a visit")
	flags.DurationVar(&o.token, "token", time.Hour, "how `long` an access token lasts")
	flags.DurationVar(&o.delay, "delay", 100*time.Millisecond, "how `long` the token endpoint takes")
	flags.DurationVar(&o.warm, "warm", 2*time.Minute, "how `long` visits go on before they are measured")
	flags.DurationVar(&o.length, "for", 2*time.Minute, "how `long` each phase is; with 0 the sessions only begin")
	flags.IntVar(&o.fullSize, "full-size", 10_000_000, "`sessions` of the site for which rates are extrapolated")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if o.inUse == 0 {
		o.inUse = o.sessions / 10
	}
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q: give flags only", flags.Arg(0))
	case o.inUse < 1 || 2*o.inUse > o.sessions:
		return options{}, errors.New("-in-use has to be at least 1 and at most half of -sessions")
	case o.nodes < 2 || o.primaries < 3:
		return options{}, errors.New("there have to be 2 nodes and 3 primaries or more")
	case o.fullSize < 1 || min(o.delay, o.warm, o.length) < 0:
		return options{}, errors.New("-full-size has to be 1 or more, and no duration may be negative")
	case o.token < time.Second:
		return options{}, errors.New("-token has to be a second or more")
	case min(o.visit, o.pause) <= 0 || o.pause > o.visit || o.visit > idleTimeout:
		return options{}, errors.New("-pause has to be more than 0 and no longer than -visit, and that no longer than 8h")
	}
	return o, nil
}

// ends is the probability that a page is the last of its visit.
func (o *options) ends() float64 { return o.pause.Seconds() / o.visit.Seconds() }

// away is how long it is on average until a visitor comes again.
func (o *options) away() time.Duration {
	return time.Duration(float64(o.visit) * float64(o.sessions-o.inUse) / float64(o.inUse))
}

// simulation is one run.
type simulation struct {
	cluster.Owner
	options
	out      io.Writer
	provider *provider
	shards   []*cluster.Redis
	visitors *visitors
}

// run simulates the site, prints what it takes, and returns the phases that were measured.
func run(owner cluster.Owner, o options, out io.Writer) []*phase {
	s := &simulation{Owner: owner, options: o, out: out}
	var end func()
	s.provider, end = startProvider(o.token)
	s.Cleanup(end)
	var store string
	s.shards, store = cluster.StartShards(s, o.primaries)
	s.visitors = newVisitors(o, s.provider)
	s.Cleanup(s.visitors.client.CloseIdleConnections)

	before, began := s.state(), time.Now()
	start := began.Add(time.Duration(o.sessions) * preparation)
	s.fill(start)
	s.reportFill(before, s.state(), time.Since(began))
	if o.length == 0 {
		return nil
	}
	s.startNodes(store)
	s.Logf("each node reads its sessions")
	s.visitors.readAll(s.Context())
	if late := time.Since(start); late > time.Minute {
		s.Logf("all sessions are %v older than they should be", late.Round(time.Second))
	}
	s.sleep(time.Until(start))
	s.provider.delay.Store(int64(o.delay))

	visiting, stop := context.WithCancel(s.Context())
	var all sync.WaitGroup
	all.Go(func() { s.visitors.run(visiting) })
	s.Cleanup(all.Wait)
	s.Cleanup(stop)
	phases := s.phases()
	stop()
	all.Wait() // they may still count
	s.report(phases)
	return phases
}

// phases lets visitors come and go.
func (s *simulation) phases() []*phase {
	nothing := func() {}
	s.measure("getting warm", s.warm, nothing)
	steady := s.measure("each session on one node", s.length, nothing)

	third := s.visitors.nodes[:(len(s.visitors.nodes)+2)/3]
	dead := s.measure("a third of the nodes killed", s.length, func() {
		var all sync.WaitGroup
		for _, node := range third {
			all.Go(node.Kill)
		}
		all.Wait()
	})
	var took []time.Duration
	started := s.measure("these nodes started again", s.length, func() {
		for _, node := range third {
			began := time.Now()
			node.Start()
			took = append(took, time.Since(began))
			node.fresh.Store(true)
			node.down.Store(false)
		}
	})
	started.starts = took
	for _, node := range third {
		node.fresh.Store(false)
	}

	s.visitors.scattered.Store(true)
	s.measure("getting warm", s.warm, nothing)
	return []*phase{steady, dead, started, s.measure("any node", s.length, nothing)}
}

func (s *simulation) check(err error) {
	if err != nil {
		s.Fatalf("%v", err)
	}
}

// startNodes starts the Caddys, and the application behind them.
func (s *simulation) startNodes(store string) {
	binary, err := cluster.Build(s.Context(), s.TempDir())
	s.check(err)
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer eyJ") {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	s.Cleanup(application.Close)
	for i := range s.nodes {
		n := &node{Caddy: cluster.NewCaddy(s, binary, fmt.Sprintf("caddy %d", i), func(port int, admin string) string {
			return fmt.Sprintf(caddyfile, admin, port, clientID, redirectURI, s.provider.url, scopes, store, strings.TrimPrefix(application.URL, "http://"))
		})}
		n.Start()
		s.visitors.nodes = append(s.visitors.nodes, n)
	}
}

const caddyfile = `{
	admin %s
	persist_config off
	default_bind 127.0.0.1
	servers {
		protocols h1
	}
	log {
		level WARN
	}
}
http://:%d {
	truelayer {
		client_id     %s
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  %s
		auth_server   %s
		scopes        %s
		store         %s
	}
	reverse_proxy %s
}
`
