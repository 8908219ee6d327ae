package cluster

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// call calls a node's admin endpoint.
func (c *Caddy) call(t *testing.T, method, path, body string) (answer struct {
	Sessions []struct{ ID string }
	Next     string
	Total    int
	Revoked  int
	Failed   int
},
) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.admin+"/truelayer/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	text, err := ask(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestRevoke: an operator ends sessions at one node while visitors use all of them. What is
// ended is ended everywhere, also where a refresh is under way, and nobody else notices.
func TestRevoke(t *testing.T) {
	for name, store := range durableStores {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 3, Store: store(t)}).Start()
			w.rotate(true)
			neighbours := w.signIn(t, 20)
			visitors := w.signIn(t, 10)
			w.tokensLast(2 * time.Second)
			refreshing := w.signIn(t, 1)[0]
			connections := make(map[*Browser]string)
			for _, b := range append(visitors, refreshing) {
				connections[b] = must(t)(b.Fetch(t.Context(), w.Front+"/page")).Token.Subject
			}
			w.tokensLast(time.Hour)
			expired := time.Now().Add(2 * time.Second)
			Await(t, "the token to expire", func() bool { return time.Now().After(expired) })
			var failures tally
			load, end := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for _, b := range neighbours {
				wg.Go(func() {
					for load.Err() == nil {
						if a, err := b.Fetch(t.Context(), w.Front+"/page"); err != nil {
							failures.add(err.Error())
						} else if a.Status != http.StatusOK {
							failures.add(a.String())
						}
					}
				})
			}
			equal(t, "counted", w.node(1).call(t, http.MethodGet, "sessions/count", "").Total, 31)

			hold := make(chan struct{})
			w.Sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
			waiting := make(chan *Answer)
			go func() {
				a, err := refreshing.Navigate(t.Context(), w.node(1).URL+"/page")
				if err != nil {
					t.Error(err)
				}
				waiting <- a
			}()
			Await(t, "the refresh", func() bool {
				metrics, err := get(t.Context(), w.node(1).admin+"/metrics")
				return err == nil && strings.Contains(metrics, "caddy_truelayer_refreshes_in_flight 1\n")
			})
			var ended time.Time
			for _, b := range append(visitors, refreshing) {
				answer := w.node(0).call(t, http.MethodPost, "sessions/revoke", `{"connection":"`+connections[b]+`"}`)
				if answer.Revoked != 1 || answer.Failed != 0 {
					t.Errorf("%+v", answer)
				}
				ended = time.Now()
			}
			close(hold)
			if a := <-waiting; a == nil || a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "session_revoked") {
				t.Errorf("the request that waited got %v", a)
			}
			for _, b := range visitors {
				for _, node := range w.Nodes {
					Await(t, "the end to hold", func() bool { return must(t)(b.Fetch(t.Context(), node.URL+"/page")).Reason == "session_revoked" })
				}
			}
			t.Logf("it held on all nodes after at most %v", time.Since(ended).Round(time.Millisecond))
			end()
			wg.Wait()
			if failures.sum() > 0 {
				t.Errorf("neighbours were disturbed: %v", &failures)
			}
			equal(t, "left", w.node(2).call(t, http.MethodGet, "sessions/count", "").Total, 20)
		})
	}
}
