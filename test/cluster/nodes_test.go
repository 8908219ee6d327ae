package cluster

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestNodes: several Caddys with one store are one site.
func TestNodes(t *testing.T) {
	for name, stores := range map[string]struct {
		nodes, browsers int
		store           func(t *testing.T, directory string) string
	}{
		"redis": {3, 300, func(t *testing.T, directory string) string {
			redis := NewRedis(t, "--dir", directory)
			redis.Start()
			return redisStore(redis)
		}},
		"storage": {2, 50, storageStore},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: stores.nodes, Store: stores.store(t, directory)}).Start()
			w.rotate(true)
			t.Run("logins that end elsewhere", func(t *testing.T) { testLogins(t, w, stores.browsers) })
			t.Run("a callback at two nodes", func(t *testing.T) { testCallbackTwice(t, w) })
			t.Run("requests at expiry", func(t *testing.T) { testExpiry(t, w) })
			t.Run("logout", func(t *testing.T) { testLogout(t, w) })
			t.Run("files", func(t *testing.T) { testFiles(t, w, directory) })
		})
	}
}

// testLogins: a session is used on any node, wherever its login began and
// ended.
func testLogins(t *testing.T, w *World, n int) {
	before := w.Sim.CallsGrant("authorization_code")
	connections := make(map[string]bool)
	for _, b := range w.signIn(t, n) {
		var session Token
		for range w.Nodes { // the balancer goes through all of them
			a := must(t)(b.Fetch(t.Context(), w.Front+"/page"))
			if a.Status != http.StatusOK || session.ID != "" && a.Token != session {
				t.Fatalf("%v %v, before %v", a, a.Token, session)
			}
			session = a.Token
		}
		connections[session.Subject] = true
	}
	equal(t, "connections", len(connections), n)
	equal(t, "exchanges", w.Sim.CallsGrant("authorization_code")-before, n)
}

// testCallbackTwice sends callbacks to two nodes at once, as browsers do that
// repeat a request whose connection broke. One node exchanges the code; the
// other one's answer is no dead end.
func testCallbackTwice(t *testing.T, w *World) {
	const n = 8 // a network has so many exchanges at once on each node
	before := w.Sim.CallsGrant("authorization_code")
	hold := make(chan struct{})
	w.Sim.Fail(simulator.Token, simulator.Fault{Times: n, Hold: hold})
	browsers := make([]*Browser, n)
	answers := make(chan *Answer, 2*n)
	var wg sync.WaitGroup
	for i := range browsers {
		b := w.Browser()
		browsers[i] = b
		callback, err := b.Approve(t.Context(), w.node(i).URL)
		if err != nil {
			t.Fatal(err)
		}
		for node := range 2 {
			wg.Go(func() {
				a, err := b.Navigate(t.Context(), w.node(i+node).URL+callback)
				if err != nil {
					t.Error(err)
				}
				answers <- a
			})
		}
	}
	Await(t, "those who came second", func() bool { return len(answers) >= n })
	close(hold)
	wg.Wait()
	close(answers)
	var first, second int
	for a := range answers {
		switch {
		case a == nil:
		case a.Status == http.StatusSeeOther && a.Location() == "/":
			first++
		case a.Status == http.StatusBadRequest && strings.Contains(a.Body, "login_used") && strings.Contains(a.Body, w.Front+"/truelayer/login"):
			second++
		default:
			t.Errorf("%v %s", a, a.Body)
		}
	}
	equal(t, "callbacks that ended a login", first, n)
	equal(t, "callbacks that were told that it was used", second, n)
	equal(t, "exchanges", w.Sim.CallsGrant("authorization_code")-before, n)
	for _, b := range browsers {
		a := must(t)(b.Navigate(t.Context(), w.Front+"/truelayer/login")) // the page's button
		if a.Status != http.StatusSeeOther || a.Location() != "/" {
			t.Errorf("the way on: %v", a)
		}
		equal(t, "the page's status", must(t)(b.Navigate(t.Context(), w.Front+"/")).Status, http.StatusOK)
	}
}

// testExpiry sends many requests at once to all nodes when the tokens of
// their sessions have expired.
func testExpiry(t *testing.T, w *World) {
	const sessions, requests = 50, 500
	browsers := w.signInExpired(t, sessions)
	tokens := make([]Token, requests)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			<-start
			a, err := browsers[i%sessions].Fetch(t.Context(), w.Front+"/page")
			if err != nil || a.Status != http.StatusOK {
				t.Errorf("%v %v", a, err)
				return
			}
			tokens[i] = a.Token
		})
	}
	close(start)
	wg.Wait()
	for i, token := range tokens {
		equal(t, "the token of a session", token, tokens[i%sessions])
	}
	for _, token := range tokens[:sessions] {
		equal(t, "refreshes of a session", w.Auth.Refreshes(token.Subject), 1)
		equal(t, "refresh tokens refused", len(w.Auth.Denied(token.Subject)), 0)
	}
}

// testLogout: what ends on one node ends on all of them.
func testLogout(t *testing.T, w *World) {
	browsers := w.signIn(t, 6)
	thieves := make([]*Browser, len(browsers))
	ended := make([]time.Time, len(browsers))
	for i, b := range browsers {
		thieves[i] = b.Stolen()
		for _, node := range w.Nodes { // each may remember the session from now on
			equal(t, "signed in", w.signedIn(t, thieves[i], node), true)
		}
		a := must(t)(b.SignOut(t.Context(), w.node(i).URL))
		equal(t, "status of the logout", a.Status, http.StatusSeeOther)
		ended[i] = time.Now()
		equal(t, "signed in where the logout was", w.signedIn(t, thieves[i], w.node(i)), false)
	}
	var longest time.Duration
	for i, thief := range thieves {
		for _, node := range w.Nodes {
			Await(t, "the logout to hold", func() bool { return !w.signedIn(t, thief, node) })
			longest = max(longest, time.Since(ended[i]))
		}
	}
	t.Logf("logouts held on all nodes after at most %v", longest.Round(time.Millisecond))
}

// testFiles looks for tokens, codes and the client secret in what the store
// and the nodes have written.
func testFiles(t *testing.T, w *World, store string) {
	secrets := w.Sim.Secrets()
	random(0).Shuffle(len(secrets), func(i, j int) { secrets[i], secrets[j] = secrets[j], secrets[i] })
	secrets = append(secrets[:200], clientSecret) // some of each kind
	var read int
	for _, directory := range append([]string{store}, w.directories()...) {
		files := os.DirFS(directory)
		err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			text, err := fs.ReadFile(files, path)
			read += len(text)
			for _, secret := range secrets {
				if bytes.Contains(text, []byte(secret)) {
					t.Errorf("%s holds a secret of %d letters", path, len(secret))
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("looked for %d secrets in %d bytes", len(secrets), read)
}
