package truelayer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// renew presses the button that renews, and returns the answer.
func (v visitor) renew(t *testing.T, h *Handler) *httptest.ResponseRecorder {
	t.Helper()
	r := v.request(t, http.MethodPost, "/truelayer/renew")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	if err := h.ServeHTTP(w, r, nil); err != nil {
		t.Fatal(err)
	}
	h.sessions.Shared.Touches.Wait(t.Context())
	for _, c := range cookiesOf(t, w) {
		v[c.Name] = c.Value
	}
	return w
}

// TestRenewBefore: a renewal is offered from renew_before on, and no longer once there is
// nothing left to renew.
func TestRenewBefore(t *testing.T) {
	b := newRefreshBench(t, func(h *Handler) { h.RenewBefore = caddy.Duration(14 * 24 * time.Hour) })
	v := signedIn(t, b)
	began := b.clock.now()
	for _, step := range []struct {
		after   time.Duration
		offered bool
	}{{0, false}, {76*24*time.Hour - time.Minute, false}, {76*24*time.Hour + time.Minute, true}, {90*24*time.Hour - time.Minute, true}, {90*24*time.Hour + time.Minute, false}} {
		b.clock.advance(began.Add(step.after).Sub(b.clock.now()))
		b.sim.Set(func(s *simulator.Settings) { s.RefreshIdle = 365 * 24 * time.Hour })
		page, _ := v.ask(t, b.Handler, "/truelayer/connection")
		info, _ := v.ask(t, b.Handler, "/truelayer/session")
		if got := strings.Contains(page.Body.String(), `action="/truelayer/renew"`); got != step.offered {
			t.Errorf("after %v the page offers it: %v", step.after, got)
		}
		if got := strings.Contains(info.Body.String(), `"renew_url":"`+testOrigin+`/truelayer/renew"`); got != step.offered {
			t.Errorf("after %v the session endpoint offers it: %v", step.after, got)
		}
	}
}

// TestConnectionPageIsNoUse: what the page says of the last use does not change because
// somebody looks at it.
func TestConnectionPageIsNoUse(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	used := b.clock.now().UTC().Format(time.RFC3339)
	b.clock.advance(30 * 24 * time.Hour)
	for range 2 {
		page, _ := v.ask(t, b.Handler, "/truelayer/connection")
		if !strings.Contains(page.Body.String(), `Last used</h2>`+"\n"+`<p><time datetime="`+used+`">`) {
			t.Fatal(page.Body)
		}
	}
}

// TestLateRenewal: a renewal that comes back too late says that the old connection goes on,
// though its visitor is signed in.
func TestLateRenewal(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	sent := v.renew(t, b.Handler)
	callback, err := b.sim.GrantDirect(sent.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	b.clock.advance(31 * time.Minute)
	late, _ := v.ask(t, b.Handler, callback)
	body := late.Body.String()
	if late.Code != http.StatusBadRequest || !strings.Contains(body, "login_expired") || !strings.Contains(body, "goes on as before, until") || !strings.Contains(body, `href="/truelayer/connection"`) {
		t.Errorf("%d %v %s", late.Code, late.Header(), body)
	}
	if b.sim.CallsGrant("authorization_code") != 1 || !v.lasts(t, b) {
		t.Error("the old session has not stayed as it is")
	}
}

// TestRenewsOnlyItsOwn: a renewal replaces what its browser has by then, since the browser
// forgets that, and no session of another browser.
func TestRenewsOnlyItsOwn(t *testing.T) {
	b := newRefreshBench(t, nil)
	v := signedIn(t, b)
	sent := v.renew(t, b.Handler)
	callback, err := b.sim.GrantDirect(sent.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	name := b.site.cookies.session
	elsewhere, here := visitor{name: v[name]}, signedIn(t, b)
	v[name] = here[name] // of a login in another tab
	if back, _ := v.ask(t, b.Handler, callback); back.Header().Get("Location") != "/truelayer/connection" {
		t.Errorf("%d %v", back.Code, back.Header())
	}
	for what, test := range map[string]struct {
		visitor visitor
		lasts   bool
	}{"the renewed one, whose cookie did not come along": {elsewhere, true}, "the one that the browser had": {here, false}, "the new one": {v, true}, "a stranger's": {signedIn(t, b), true}} {
		if got := test.visitor.lasts(t, b); got != test.lasts {
			t.Errorf("%s lasts: %v", what, got)
		}
	}
}
