package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestStuckSession: a visitor whose refreshes are refused, but not for the end of
// the consent, keeps the session, and can connect the bank anew in place of
// waiting for its end.
func TestStuckSession(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "scopes info offline_access" })
	browsers, expire := w.shortLived(1, time.Second)
	expire()
	b := browsers[0]
	equal(t, "connected while nobody knows", w.info(b)["connected"], any(true))
	equal(t, "the login URL while nobody knows", b.navigate(w.Site+"/truelayer/login?return=/page").location(), "/page")

	w.sim.Fail(simulator.Token, simulator.Fault{Status: 401, ContentType: "application/json", Body: `{"error":"unauthorized"}`})
	page := b.navigate(w.Site + "/page")
	equal(t, "status", page.StatusCode, http.StatusServiceUnavailable)
	if strings.Contains(page.body, "Connect your bank again") {
		t.Error("one failure, and the page gives up")
	}
	info := w.info(b)
	equal(t, "connected", info["connected"], any(false))
	equal(t, "reason", info["reason"], any("token_unavailable"))
	equal(t, "login URL", info["login_url"], any(w.Site+"/truelayer/login"))

	link := b.navigate(w.Site + "/truelayer/login?return=/page").location()
	if !strings.HasPrefix(link, w.AuthServer) || !strings.Contains(link, "provider_id=mock") {
		t.Fatalf("the login URL leads to %s", link)
	}
	w.sim.ClearFaults()
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Hour })
	callback, err := w.sim.Grant(link)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "back", b.navigate(callback).location(), "/page")
	equal(t, "the page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "connected again", w.info(b)["connected"], any(true))
}
