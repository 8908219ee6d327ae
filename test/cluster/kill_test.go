package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	kills        = 50
	killVisitors = 40
)

// TestKill kills a node again and again while visitors sign in and their
// tokens are refreshed, with refresh tokens that work once. Nobody who was
// given a session loses it, but for one case that cannot be mended: the auth
// server has replaced a refresh token, and the process dies before the new one
// is in the store.
func TestKill(t *testing.T) {
	t.Parallel() // for its own two; it is mostly waiting
	t.Logf("-seed %d", *seed)
	for name, store := range durableStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 1, Store: store(t)}).Start()
			w.rotate(true)
			w.tokensLast(2 * time.Second)
			lingering, moments := random(1), random(2)
			w.Auth.Linger(func() time.Duration { return time.Duration(lingering.IntN(30)) * time.Millisecond })
			s := &survivors{t: t, w: w, ending: make(chan struct{})}
			for i := range killVisitors {
				s.running.Go(func() { s.visit(random(10 + i)) })
			}
			t.Cleanup(s.running.Wait)
			for range kills {
				<-time.After(time.Duration(100+moments.IntN(700)) * time.Millisecond)
				w.Nodes[0].Kill()
				w.Auth.Drain(t)
				w.Auth.NextEpoch()
				w.Nodes[0].Start()
			}
			close(s.ending)
			s.running.Wait()
			t.Logf("%v", &s.seen)
			s.account()
		})
	}
}

// survivors are visitors of a node that is killed.
type survivors struct {
	t       *testing.T
	w       *World
	seen    tally
	ending  chan struct{} // closed when the node is killed no more
	running sync.WaitGroup
}

// survivor is one of them.
type survivor struct {
	*survivors
	random     *rand.Rand
	browser    *Browser
	connection string // of its session
	newest     int    // which of the connection's tokens it has seen
}

func (s *survivors) visit(random *rand.Rand) {
	v := &survivor{survivors: s, random: random, browser: s.w.Browser()}
	var earlier []*survivor
	for v.pause() && !v.step() {
		if v.connection != "" && !v.over() && random.IntN(20) == 0 { // goes on in another browser
			earlier = append(earlier, v)
			v = &survivor{survivors: s, random: random, browser: s.w.Browser()}
		}
	}
	for _, v := range earlier {
		for v.pause() && !v.step() {
		}
	}
}

// pause reports whether the test goes on.
func (v *survivor) pause() bool {
	<-time.After(time.Duration(v.random.IntN(200)) * time.Millisecond)
	return v.t.Context().Err() == nil
}

// step signs in or opens a page, and reports whether that was the last step:
// when the node is killed no more, a page with a token issued since.
func (v *survivor) step() (last bool) {
	if v.connection == "" {
		return !v.signIn() && v.over()
	}
	a, err := v.open()
	switch {
	case err != nil:
		v.seen.add("connection broken")
	case a.Status == http.StatusServiceUnavailable:
		v.seen.add("503 " + a.Reason)
	case a.Status == http.StatusOK:
		v.seen.add("answered")
		issued := v.w.Auth.Issued(v.connection)
		which := slices.IndexFunc(issued, func(i Issue) bool { return i.ID == a.Token.ID })
		if which < v.newest {
			v.t.Errorf("token %d of %s after token %d", which, v.connection, v.newest)
			return true
		}
		v.newest = which
		return v.over() && issued[which].Came == kills
	case a.Reason == "consent_expired":
		v.seen.add("connection over")
		v.browser, v.connection, v.newest = v.w.Browser(), "", 0
	default:
		v.t.Errorf("%s: %v", v.connection, a)
		return true
	}
	return false
}

func (s *survivors) over() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}

// open opens a page, sometimes twice at once, and returns the answer that says
// more.
func (v *survivor) open() (*Answer, error) {
	type result struct {
		*Answer
		error
	}
	results := make(chan result, 2)
	times := 1 + v.random.IntN(2)
	for range times {
		go func() {
			a, err := v.browser.Fetch(v.t.Context(), v.w.Nodes[0].URL+"/page")
			results <- result{a, err}
		}()
	}
	r := <-results
	if times == 2 {
		if second := <-results; second.error == nil && (r.error != nil || r.Status == http.StatusOK) {
			r = second
		}
	}
	return r.Answer, r.error
}

// signIn connects a bank. A callback without an answer is repeated, as a
// person does who presses reload.
func (v *survivor) signIn() bool {
	ctx, node := v.t.Context(), v.w.Nodes[0].URL
	callback, err := v.browser.Approve(ctx, node)
	if err != nil {
		return false
	}
	for v.pause() {
		a, err := v.browser.Navigate(ctx, node+callback)
		switch {
		case v.browser.HasSession():
			v.seen.add("signed in")
			v.connection = v.w.Auth.Connection(code(callback))
			return true
		case err != nil:
			v.seen.add("callback without an answer")
			continue
		}
		v.seen.add(fmt.Sprintf("callback %d", a.Status)) // used, most likely
		break
	}
	return false
}

func code(callback string) string {
	u, err := url.Parse(callback)
	if err != nil {
		return ""
	}
	return u.Query().Get("code")
}

// account looks at every connection that was refused a refresh.
func (s *survivors) account() {
	lost, longest := 0, time.Duration(0)
	for _, connection := range s.w.Auth.Connections() {
		denied := s.w.Auth.Denied(connection)
		if len(denied) == 0 {
			continue
		}
		lost++
		issued := s.w.Auth.Issued(connection)
		last := issued[len(issued)-1]
		if denied[0].Used != last.Used || denied[0].Came <= last.Came || s.w.App.Saw(last.ID) {
			s.t.Errorf("%s: refused %+v after %+v, seen upstream: %v", connection, denied[0], last, s.w.App.Saw(last.ID))
			continue
		}
		longest = max(longest, s.w.Auth.Ended(last.Came).Sub(last.At))
	}
	s.t.Logf("%d connections, %d lost between the auth server's act and the store, killed at most %v later",
		len(s.w.Auth.Connections()), lost, longest.Round(time.Millisecond))
}
