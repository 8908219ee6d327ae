package truelayer

import (
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// newRefreshBench has a handler whose sessions can be refreshed.
func newRefreshBench(t *testing.T, change func(*Handler)) *bench {
	t.Helper()
	b := newBench(t, func(h *Handler) {
		h.Scopes = []string{"verification", "offline_access"}
		h.MaxLifetime = caddy.Duration(365 * 24 * time.Hour)
		h.IdleTimeout = caddy.Duration(365 * 24 * time.Hour)
		if change != nil {
			change(h)
		}
	})
	return b
}

// token is the access token that the visitor's request carries upstream.
func (v visitor) token(t *testing.T, b *bench) string {
	t.Helper()
	answer, got := v.ask(t, b.Handler, "/page")
	if got == nil {
		t.Fatalf("the request did not go through: %d %v", answer.Code, answer.Header())
	}
	return got.Header.Get("Authorization")
}

func (b *bench) refreshes() int { return b.sim.CallsGrant("refresh_token") }

// awaitRefresh returns when the nth refresh, which runs behind a request, has
// ended, and its result is no longer given to those who come meanwhile.
func (b *bench) awaitRefresh(t *testing.T, n int) {
	t.Helper()
	for b.refreshes() < n {
		runtime.Gosched()
	}
	b.sessions.Shared.Refreshes.Wait(t.Context())
}

func TestRefreshBehind(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	first := v.token(t, b)
	b.clock.advance(53 * time.Minute)
	if v.token(t, b) != first || b.refreshes() != 0 {
		t.Fatal("refreshed before the window")
	}
	b.clock.advance(6 * time.Minute)
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	for range 5 { // nobody waits
		if v.token(t, b) != first {
			t.Fatal("a token that is not there yet")
		}
	}
	close(hold)
	b.awaitRefresh(t, 1)
	if v.token(t, b) == first || b.refreshes() != 1 {
		t.Errorf("%d refreshes", b.refreshes())
	}
}

func TestRefreshAfterExpiry(t *testing.T) {
	for _, rotate := range []bool{false, true} {
		b := newRefreshBench(t, nil)
		b.sim.Set(func(s *simulator.Settings) { s.Rotate = rotate })
		v := signedIn(t, b)
		last := v.token(t, b)
		for i := range 5 {
			b.clock.advance(2 * time.Hour)
			next := v.token(t, b)
			if next == last || b.refreshes() != i+1 {
				t.Fatalf("rotation %v: %d refreshes", rotate, b.refreshes())
			}
			last = next
		}
	}
}

// TestRefreshFailures: nothing but a confirmed invalid_grant ends anything.
func TestRefreshFailures(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"500":                 {Status: 500},
		"429":                 {Status: 429},
		"HTML":                {Status: 503, ContentType: "text/html", Body: "<h1>invalid_grant</h1>"},
		"unauthorized":        {Status: 401, ContentType: "application/json", Body: `{"error":"unauthorized"}`},
		"unauthorized_client": {Status: 401, ContentType: "application/json", Body: `{"error":"unauthorized_client","error_description":"invalid_grant"}`},
		"invalid_client":      {Status: 400, ContentType: "application/json", Body: `{"error":"invalid_client"}`},
		"dropped":             {DropBefore: true},
		"truncated":           {Truncate: true},
		"no token in it":      {Status: 200, ContentType: "application/json", Body: `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRefreshBench(t, nil)
			v := signedIn(t, b)
			first := v.token(t, b)
			fault.Times = 1
			b.sim.Fail(simulator.Token, fault)

			b.clock.advance(59 * time.Minute) // in the window: the token goes on being used
			if v.token(t, b) != first {
				t.Error("another token")
			}
			b.awaitRefresh(t, 1)
			if v.token(t, b) != first || b.refreshes() != 1 {
				t.Errorf("%d refreshes: the next attempt has to wait", b.refreshes())
			}
			b.clock.advance(2 * time.Minute) // expired, and the back-off is over
			if v.token(t, b) == first || b.refreshes() != 2 {
				t.Errorf("%d refreshes", b.refreshes())
			}
		})
	}
}

func TestRefreshUnavailable(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	b.clock.advance(2 * time.Hour)
	b.sim.Fail(simulator.Token, simulator.Fault{Status: 503, Header: http.Header{"Retry-After": {"30"}}})
	for range 10 {
		answer, got := v.ask(t, b.Handler, "/page")
		if got != nil || answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "30" || answer.Header().Get("Refresh") != "30" {
			t.Fatalf("%d %v", answer.Code, answer.Header())
		}
	}
	if b.refreshes() != 1 {
		t.Errorf("%d refreshes while the server wants to be left alone", b.refreshes())
	}
	b.sim.ClearFaults()
	if other := signedIn(t, b); !other.lasts(t, b) {
		t.Error("others are held up")
	}
	b.clock.advance(31 * time.Second)
	if !v.lasts(t, b) {
		t.Error("no recovery")
	}
}

// TestStuckSessionOffersALogin: the page of a session whose refreshes go on failing
// offers another way than to wait, and no longer once one has worked.
func TestStuckSessionOffersALogin(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	b.clock.advance(2 * time.Hour)
	b.sim.Fail(simulator.Token, simulator.Fault{Status: 401, ContentType: "application/json", Body: `{"error":"unauthorized_client"}`})
	const offer = "Connect your bank again"
	for attempt := 1; attempt <= 5; attempt++ {
		page, _ := v.ask(t, b.Handler, "/page")
		if page.Code != http.StatusServiceUnavailable || page.Header().Get("Refresh") == "" || b.refreshes() != attempt {
			t.Fatalf("attempt %d: %d %v, %d refreshes", attempt, page.Code, page.Header(), b.refreshes())
		}
		if offered := strings.Contains(page.Body.String(), offer); offered != (attempt >= 4) {
			t.Errorf("after %d attempts it is offered: %v", attempt, offered)
		}
		b.clock.advance(time.Duration(1<<attempt) * time.Second)
	}
	b.sim.ClearFaults()
	b.clock.advance(time.Hour)
	if !v.lasts(t, b) {
		t.Fatal("no recovery")
	}
	b.clock.advance(2 * time.Hour)
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 2, Status: 503})
	page, _ := v.ask(t, b.Handler, "/page")
	if strings.Contains(page.Body.String(), offer) {
		t.Error("the failures from before are counted")
	}
	b.clock.advance(61 * time.Second) // one failure only, but a while ago
	if page, _ = v.ask(t, b.Handler, "/page"); !strings.Contains(page.Body.String(), offer) {
		t.Error("it is not offered after a minute")
	}
}

// TestLostRefreshAnswer: with rotation and reuse detection an answer that was
// lost ends the connection: that is the one case that cannot be saved.
// Without rotation the stored token is simply sent again.
func TestLostRefreshAnswer(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	b.clock.advance(2 * time.Hour)
	b.sim.Fail(simulator.Token, simulator.Fault{Times: 1, DropAfter: true})
	if v.lasts(t, b) || b.refreshes() != 1 {
		t.Fatalf("%d refreshes: a lost answer is not repeated within the attempt", b.refreshes())
	}
	b.clock.advance(time.Minute)
	if !v.lasts(t, b) || b.refreshes() != 2 {
		t.Errorf("%d refreshes", b.refreshes())
	}
}

func TestConsentRevoked(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	b.sim.RevokeConsents()
	b.clock.advance(59 * time.Minute)
	v.token(t, b)
	b.awaitRefresh(t, 1)
	v.token(t, b) // the access token's last minute is the application's to see
	b.clock.advance(2 * time.Minute)
	tellsOnce(t, b, v)
}

func TestConsentTimeIsUp(t *testing.T) {
	b := newRefreshBench(t, nil)
	b.sim.Set(func(s *simulator.Settings) { s.ConsentLifetime = 30 * time.Minute; s.TokenLifetime = time.Hour })
	v := signedIn(t, b)
	b.clock.advance(29 * time.Minute)
	v.token(t, b)
	b.awaitRefresh(t, 1)
	b.clock.advance(time.Minute)
	tellsOnce(t, b, v)
}

// tellsOnce: the visitor is told, machines too, and the next login goes to the
// same bank.
func tellsOnce(t *testing.T, b *bench, v visitor) {
	t.Helper()
	refreshes := b.refreshes()
	page, got := v.ask(t, b.Handler, "/page")
	if got != nil || page.Code != http.StatusUnauthorized || !strings.Contains(page.Body.String(), "consent_expired") || !strings.Contains(page.Body.String(), "Connect your bank again") {
		t.Fatalf("%d %s", page.Code, page.Body)
	}
	for _, target := range []string{"/truelayer/login?return=/page", "/page"} {
		sent, _ := v.ask(t, b.Handler, target)
		if location := sent.Header().Get("Location"); !strings.Contains(location, "provider_id=mock") {
			t.Errorf("%s: %d %s", target, sent.Code, location)
		}
	}
	s, err := b.sessions.Look(t.Context(), []session.Secret{v.secret(t, b)}, b.clock.now())
	if err != nil || s == nil || s.Bearer() != "" || !s.IsOver(b.clock.now()) || !s.Told {
		t.Errorf("what is kept of it: %+v %v", s, err)
	}
	if b.refreshes() != refreshes {
		t.Error("a consent that is over was refreshed")
	}
	back, _ := v.ask(t, b.Handler, v.depart(t, b, "/page"))
	if back.Header().Get("Location") != "/page" || !v.lasts(t, b) {
		t.Error("no new login")
	}
}

func (v visitor) secret(t *testing.T, b *bench) session.Secret {
	t.Helper()
	secret, ok := decodeSecret(v[b.site.cookies.session])
	if !ok {
		t.Fatal("no session cookie")
	}
	return secret
}
