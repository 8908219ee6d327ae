package cluster

import (
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
)

// TestFailoverBehindAddress: the primary is demoted behind an address that
// stands for whoever it is, and keeps its connections. Logouts hold on all
// nodes, nobody else is signed out, and every answer is a page or a 503.
func TestFailoverBehindAddress(t *testing.T) {
	primary := startRedis(t)
	replica := NewRedis(t, "--replicaof", "127.0.0.1", strconv.Itoa(primary.Port))
	replica.Start()
	Await(t, "the replica", primary.hasReplica)
	address := loopback.NewRelay(t, primary.Address())
	w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 2, Store: "redis {\n\t\t\taddress " + address.Address + "\n\t\t}"}).Start()
	browsers := w.signIn(t, 20)
	leaver, stay := browsers[0], browsers[1:]
	thief := leaver.Stolen()

	ending := make(chan struct{})
	var visits sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(ending)
		visits.Wait()
	})
	t.Cleanup(end)
	for _, b := range stay {
		visits.Go(func() {
			for {
				select {
				case <-ending:
					return
				default:
				}
				a, err := b.Fetch(t.Context(), w.Front+"/page")
				if err != nil || a.Status != http.StatusOK {
					unavailable(t, a, err)
				}
			}
		})
	}
	nowhere, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	// a write of this connection, so that WAIT is about all before it
	equal(t, "replicas that have everything", primary.command("SET mark 1", "WAIT 1 10000"), ":1")
	equal(t, "the promotion", replica.command("REPLICAOF NO ONE"), "+OK")
	equal(t, "the demotion", primary.command("REPLICAOF 127.0.0.1 "+strconv.Itoa(nowhere)), "+OK")
	address.To(replica.Address())
	equal(t, "status of the logout", must(t)(leaver.SignOut(t.Context(), w.Nodes[0].URL)).Status, http.StatusSeeOther)
	for _, node := range w.Nodes {
		// one that has nothing to write notices when it asks, within seconds
		Await(t, "the logout to hold", func() bool {
			return must(t)(thief.Fetch(t.Context(), node.URL+"/page")).Reason == "login_required"
		})
	}
	end()
	w.awaitPages(t, append(stay, stay...))
	newcomer := w.signIn(t, 1)[0]
	equal(t, "signed in after the failover", w.signedIn(t, newcomer, w.Nodes[0]), true)
}
