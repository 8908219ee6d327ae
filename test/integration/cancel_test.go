package integration

import (
	"net/http"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestCancelledWithoutState: a visitor who cancels may come back with less than
// the standard says. Nothing is exchanged, and the login that is under way goes
// on to work.
func TestCancelledWithoutState(t *testing.T) {
	w := start(t, plain, nil)
	for _, cancelled := range []string{"no_state", "nothing"} {
		t.Run(cancelled, func(t *testing.T) {
			w.sim.Set(func(s *simulator.Settings) { s.Cancelled = cancelled })
			b := w.browser()
			link := b.navigate(w.Site + "/page").location()
			callback, err := simulator.Approve(t.Context(), nil, link, simulator.Cancel())
			if err != nil {
				t.Fatal(err)
			}
			before := w.sim.Calls(simulator.Token)
			a := b.navigate(callback)
			asPage(t, a)
			equal(t, "cookies", len(a.Header.Values("Set-Cookie")), 0)
			if cancelled == "no_state" {
				equal(t, "status", a.StatusCode, http.StatusForbidden)
				equal(t, "reason", b.fetch(callback).problem(t)["reason"], any("access_denied"))
			}
			equal(t, "exchanges", w.sim.Calls(simulator.Token)-before, 0)
			if callback, err = w.sim.Grant(link); err != nil {
				t.Fatal(err)
			}
			equal(t, "the same login", b.navigate(callback).location(), "/page")
		})
	}
}
