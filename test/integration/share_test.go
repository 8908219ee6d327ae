package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const (
	eachNetwork = 8  // exchanges under way for one network, as the product has it
	altogether  = 64 // and for all of them
	refusals    = 10 // codes of one network that the token endpoint may refuse in a minute
)

// heldCallbacks are callbacks whose exchanges the token endpoint holds.
type heldCallbacks struct {
	*world
	all     int
	hold    chan struct{} // lets one go for each value, all when closed
	answers chan int
	gone    int // so many were let go
}

// holdCallbacks sends a visitor's callback for each of the addresses, which
// are what X-Forwarded-For says, all at once.
func (w *world) holdCallbacks(addresses []string) *heldCallbacks {
	w.t.Helper()
	h := &heldCallbacks{world: w, all: len(addresses), hold: make(chan struct{}), answers: make(chan int, len(addresses))}
	w.sim.Fail(simulator.Token, simulator.Fault{Hold: h.hold})
	callbacks := make(map[*browser]string)
	from := make(map[*browser]string)
	for _, address := range addresses {
		b := w.browser()
		callbacks[b], from[b] = w.approve(b, w.Site+"/page"), address
	}
	for b, callback := range callbacks {
		go func() {
			status := 0
			a, err := b.try(w.t.Context(), http.MethodGet, callback, append([]string{"X-Forwarded-For", from[b]}, asNavigation...)...)
			if err == nil {
				status = a.StatusCode
			}
			h.answers <- status
		}()
	}
	return h
}

// underWay waits until the token endpoint holds so many.
func (h *heldCallbacks) underWay(n int) {
	h.t.Helper()
	waitUntil(h.t, fmt.Sprintf("%d exchanges", n), func() bool { return h.sim.Calls(simulator.Token)-h.gone >= n })
	equal(h.t, "exchanges under way", h.sim.Calls(simulator.Token)-h.gone, n)
}

// letGo lets one go and waits for its answer.
func (h *heldCallbacks) letGo() {
	h.t.Helper()
	h.hold <- struct{}{}
	h.gone++
	equal(h.t, "status", <-h.answers, http.StatusSeeOther)
}

// letAllGo waits for all the answers that are still to come.
func (h *heldCallbacks) letAllGo() {
	h.t.Helper()
	close(h.hold)
	for ; h.gone < h.all; h.gone++ {
		equal(h.t, "status", <-h.answers, http.StatusSeeOther)
	}
	equal(h.t, "exchanges", h.sim.Calls(simulator.Token), h.all)
}

// startOneNetwork runs Caddy for clients with one address: localhost has two.
func startOneNetwork(t *testing.T, global string) *world {
	t.Helper()
	return start(t, plain, func(w *world) {
		w.Global = global
		var dialer net.Dialer
		network := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", address)
		}}
		t.Cleanup(network.CloseIdleConnections)
		w.secrets.network = network
	})
}

const trustLoopback = "servers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}"

// each returns n addresses made with a format.
func each(n int, format string) (addresses []string) {
	for i := range n {
		addresses = append(addresses, fmt.Sprintf(format, i+1))
	}
	return addresses
}

// TestShareByClientIP: whose share of the exchanges a callback counts to, a
// client cannot choose by X-Forwarded-For; that counts from trusted proxies
// only. With a new address each time others' limits could be got around
// (CVE-2024-21494).
func TestShareByClientIP(t *testing.T) {
	addresses := each(eachNetwork+8, "203.0.113.%d")
	t.Run("from anybody", func(t *testing.T) {
		held := startOneNetwork(t, "").holdCallbacks(addresses)
		held.underWay(eachNetwork)
		for range len(addresses) - eachNetwork {
			held.letGo() // another one's turn
			held.underWay(eachNetwork)
		}
		held.letAllGo()
	})
	t.Run("from a trusted proxy", func(t *testing.T) {
		held := startOneNetwork(t, trustLoopback).holdCallbacks(addresses)
		held.underWay(len(addresses))
		held.letAllGo()
	})
}

// TestExchangesAreBounded: however many networks send callbacks, the auth
// server has so many at once, and the others wait for their turn.
func TestExchangesAreBounded(t *testing.T) {
	var addresses []string
	for i := range altogether/eachNetwork + 1 {
		for range eachNetwork {
			addresses = append(addresses, fmt.Sprintf("203.0.113.%d", i))
		}
	}
	held := startOneNetwork(t, trustLoopback).holdCallbacks(addresses)
	held.underWay(altogether)
	for range 8 {
		held.letGo()
		held.underWay(altogether)
	}
	held.letAllGo()
}
