package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
	"github.com/caddy-truelayer/caddy-truelayer/test/cluster"
)

// atOnce is how many requests can be under way.
const atOnce = 128

// visitors open pages. As many visits as there are slots are in progress, and a request comes
// from any of them at random. A visit ends at random, and that of another session begins, so
// that both the pauses within a visit and its length are distributed exponentially.
type visitors struct {
	nodes    []*node
	provider *provider
	cookie   string // the name of the cookie

	mu      sync.Mutex
	secrets []session.Secret // by session

	slots  []int  // the session of each visit in progress
	busy   []bool // by session: a visit is in progress
	pause  time.Duration
	ends   float64 // the probability that a request begins another visit
	logins float64 // the probability that a visit begins with a login

	// scattered says that each request goes to any node; otherwise a session stays on one.
	scattered atomic.Bool
	seed      maphash.Seed // of the choice of a node
	answers   atomic.Pointer[answers]
	client    *http.Transport
}

func newVisitors(o options, p *provider) *visitors {
	label := p.label()
	v := &visitors{
		provider: p,
		secrets:  make([]session.Secret, o.sessions),
		cookie:   "truelayer-" + hex.EncodeToString(label[:4]),
		busy:     make([]bool, o.sessions),
		seed:     maphash.MakeSeed(),
		pause:    o.pause,
		ends:     o.ends(),
		// as many as would replace the sessions that reach the end of their life
		logins: min(1, float64(o.sessions)/maxLifetime.Seconds()/(float64(o.inUse)/o.visit.Seconds())),
		client: &http.Transport{MaxIdleConnsPerHost: atOnce},
	}
	v.answers.Store(newAnswers())
	return v
}

// readAll lets each node read the sessions that it has read in the past: twice, as a node
// keeps what it reads from the second time on.
func (v *visitors) readAll(ctx context.Context) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(v.secrets)) && ctx.Err() == nil; n = next.Add(1) - 1 {
				for range 2 {
					v.get(ctx, int(n), "/truelayer/session", time.Now())
				}
			}
		})
	}
	all.Wait()
}

// node is a Caddy as the balancer sees it.
type node struct {
	*cluster.Caddy
	down  atomic.Bool // nothing listens
	fresh atomic.Bool // it has just started
}

// request is one that is due.
type request struct {
	session int
	login   bool
	due     time.Time
}

// run opens pages until ctx ends.
func (v *visitors) run(ctx context.Context) {
	for n, busy := range v.busy {
		if busy {
			v.slots = append(v.slots, n)
		}
	}
	due := make(chan request, 16*atOnce)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for r := range due {
				v.do(ctx, r)
			}
		})
	}
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	began, sent := time.Now(), 0
	for ctx.Err() == nil {
		for ; float64(sent) < time.Since(began).Seconds()/v.pause.Seconds()*float64(len(v.slots)); sent++ {
			r := v.next()
			select {
			case due <- r:
			default:
				v.answers.Load().count("not sent, since too many were under way")
			}
		}
		<-ticker.C
	}
	close(due)
	workers.Wait()
}

// next returns the next request.
func (v *visitors) next() request {
	slot := rand.IntN(len(v.slots)) //nolint:gosec // random, not secret
	r := request{session: v.slots[slot], due: time.Now()}
	if rand.Float64() < v.ends { //nolint:gosec // random, not secret
		v.busy[r.session] = false
		for v.busy[r.session] || r.session == v.slots[slot] {
			r.session = rand.IntN(len(v.secrets)) //nolint:gosec // random, not secret
		}
		v.busy[r.session], v.slots[slot] = true, r.session
		r.login = rand.Float64() < v.logins //nolint:gosec // random, not secret
	}
	return r
}

// do opens a page, after a login if the visit begins with one.
func (v *visitors) do(ctx context.Context, r request) {
	if r.login && !v.login(ctx, r.session) {
		return
	}
	v.get(ctx, r.session, "/page", r.due)
}

// login gives a session's visitor another session in its place.
func (v *visitors) login(ctx context.Context, n int) (ok bool) {
	cookie, err := bench.Login(func(req *http.Request) (*http.Response, error) {
		req.RequestURI = ""
		return v.send(req.WithContext(ctx), n)
	}, v.provider.grant)
	secret, decodeErr := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(cookie, v.cookie+"="))
	if err != nil || decodeErr != nil || len(secret) != len(session.Secret{}) {
		if ctx.Err() == nil {
			v.answers.Load().count("login failed")
		}
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[n] = session.Secret(secret)
	return true
}

// get opens a page that was due at some time.
func (v *visitors) get(ctx context.Context, n int, path string, due time.Time) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return
	}
	v.mu.Lock()
	secret := v.secrets[n]
	v.mu.Unlock()
	req.Header.Set("Sec-Fetch-Mode", "cors")
	req.Header.Set("Cookie", v.cookie+"="+base64.RawURLEncoding.EncodeToString(secret[:]))
	resp, err := v.send(req, n)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		v.answers.Load().count("no answer")
	default:
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		v.answers.Load().add(resp.StatusCode, time.Since(due), v.fresh(req))
	}
}

// send sends a request as a balancer does: another node is asked where nothing listens, and a
// request whose connection breaks before the answer is sent again. The client itself repeats
// one on a connection that was used before, and that is not counted.
func (v *visitors) send(req *http.Request, n int) (*http.Response, error) {
	for {
		to := v.route(n)
		if to < 0 {
			return nil, errors.New("no node listens")
		}
		req.URL.Scheme, req.URL.Host = "http", strings.TrimPrefix(v.nodes[to].URL, "http://")
		resp, err := v.client.RoundTrip(req)
		if err == nil || req.Context().Err() != nil {
			return resp, err
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			v.nodes[to].down.Store(true)
		} else {
			v.answers.Load().count("connection lost, asked again")
		}
	}
}

// route returns the node for a session, -1 if there is none. Unless they are scattered, sessions
// stay on their nodes; those of a node that goes down are spread over the others, and return to
// it (rendezvous hashing).
func (v *visitors) route(n int) (best int) {
	best = -1
	var highest uint64
	for i, node := range v.nodes {
		if node.down.Load() {
			continue
		}
		score := rand.Uint64() //nolint:gosec // random, not secret
		if !v.scattered.Load() {
			score = maphash.Comparable(v.seed, [2]int{n, i})
		}
		if best < 0 || score > highest {
			best, highest = i, score
		}
	}
	return best
}

// fresh reports whether a request went to a node that has just started.
func (v *visitors) fresh(req *http.Request) bool {
	for _, node := range v.nodes {
		if node.fresh.Load() && node.URL == "http://"+req.URL.Host {
			return true
		}
	}
	return false
}

// answers are those of a phase.
type answers struct {
	mu      sync.Mutex
	others  map[string]int
	lastBad time.Time
	// took is how long pages took, and tookFresh those of nodes that have just started.
	took, tookFresh []time.Duration
}

func newAnswers() *answers { return &answers{others: make(map[string]int)} }

func (a *answers) add(status int, took time.Duration, fresh bool) {
	if status != http.StatusOK {
		a.count("status " + strconv.Itoa(status))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if fresh {
		a.tookFresh = append(a.tookFresh, took)
	} else {
		a.took = append(a.took, took)
	}
}

// served is how many pages were.
func (a *answers) served() int { return len(a.took) + len(a.tookFresh) }

func (a *answers) count(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.others[what]++
	a.lastBad = time.Now()
}
