package truelayer

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestClockSetBack: a connection that was said to be over stays so, on a node
// whose clock is behind as well. Its tokens are gone.
func TestClockSetBack(t *testing.T) {
	for name, header := range map[string]*TokenHeader{
		"Authorization": nil, "a field": {Field: "X-Token"}, "a scheme": {Field: "X-Token", Scheme: "Token"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRefreshBench(t, func(h *Handler) { h.TokenHeader = header })
			b.sim.Set(func(s *simulator.Settings) { s.ConsentLifetime = 30 * time.Minute })
			v := signedIn(t, b)
			b.clock.advance(30 * time.Minute)
			if page, _ := v.ask(t, b.Handler, "/page"); page.Code != http.StatusUnauthorized {
				t.Fatalf("told with %d", page.Code)
			}
			b.clock.advance(-time.Minute)
			if answer, got := v.ask(t, b.Handler, "/page"); got != nil {
				t.Errorf("%d, forwarded with %v", answer.Code, got.Header)
			}
		})
	}
}

// TestSetbackOutlivesNoClock: a wait that was noted before the clock was set
// back would otherwise last for as long as the step.
func TestSetbackOutlivesNoClock(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	b.clock.advance(2 * time.Hour)
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"30"}}})
	if a, _ := v.ask(t, b.Handler, "/page"); a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") != "30" {
		t.Fatalf("%d %v", a.Code, a.Header())
	}
	if a, _ := v.ask(t, b.Handler, "/page"); a.Code != http.StatusServiceUnavailable || b.sim.Calls(simulator.Token) != 2 {
		t.Errorf("it did not wait: %d", a.Code)
	}
	b.clock.advance(-40 * time.Minute) // the token has expired still
	if a, got := v.ask(t, b.Handler, "/page"); got == nil {
		t.Errorf("%d %v", a.Code, a.Header())
	}
}
