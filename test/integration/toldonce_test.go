package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestVisitorsWhoGo: whoever closes the connection while the store is read has caused no
// failure, neither of a login nor of the store.
func TestVisitorsWhoGo(t *testing.T) {
	w := startAudited(t, "store slow", "")
	own, _ := w.signedIn().ownCookies(w.Site)
	slow(t, time.Minute)
	since := w.log.mark(t)
	w.counts(t, "made-up callbacks", []string{"logins_total", "requests_total"}, map[string]float64{"requests_total{outcome=gone}": 3}, func() {
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			reads := w.series()["store_operations_total{operation=get,result=canceled,store=slow}"]
			time.AfterFunc(50*time.Millisecond, cancel)
			if _, err := w.browser().try(ctx, http.MethodGet, w.Site+"/truelayer?code=x&state=y", "Cookie", own.Name+"="+strings.Repeat("A", 43)); err == nil {
				t.Error("it was answered")
			}
			waitUntil(t, "the end of the read", func() bool {
				return w.series()["store_operations_total{operation=get,result=canceled,store=slow}"] > reads
			})
		}
		waitUntil(t, "the requests", func() bool { return w.series()["requests_total{outcome=gone}"] == 3 })
	})
	if got := w.events(); !slices.Equal(got, []string{"login"}) {
		t.Errorf("the trail has %q", got)
	}
	for _, line := range lines(t, diagnostics(since()), "") {
		if line["level"] == "error" {
			t.Errorf("the log has %v", line)
		}
	}
}

// TestLogoutOfThoseWhoGo: whoever signs out and closes the tab is signed out, and an auditor
// sees it.
func TestLogoutOfThoseWhoGo(t *testing.T) {
	w := startAudited(t, "store slow", "")
	b := w.signedIn()
	cookies := b.cookies(w.Site)
	slow(t, 200*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := b.try(ctx, http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin"); err == nil {
		t.Error("it was answered")
	}
	waitUntil(t, "the line", func() bool { return slices.Equal(w.events(), []string{"login", "logout"}) })
	slow(t, 0)
	equal(t, "the old cookie", w.browser().do(http.MethodGet, w.Site+"/page", "Cookie", cookies).StatusCode, http.StatusUnauthorized)
}

// TestEndsAreToldOnce: a browser that repeats a request at once ends its session once.
func TestEndsAreToldOnce(t *testing.T) {
	w := startAudited(t, "store slow", "")
	repeated := func(method, target, cookies string, header ...string) {
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { w.browser().do(method, target, append(header, "Cookie", cookies)...) })
		}
		wg.Wait()
	}
	b := w.signedIn()
	first := w.signedIn()
	second := w.browser()
	callback := w.approve(second, w.Site+"/page")
	slow(t, 50*time.Millisecond)
	w.counts(t, "logouts", []string{"sessions_ended"}, map[string]float64{"sessions_ended_total{cause=logout}": 1}, func() {
		repeated(http.MethodPost, w.Site+"/truelayer/logout", b.cookies(w.Site), "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
	})
	w.counts(t, "callbacks", []string{"sessions_ended", "logins_total"}, map[string]float64{"sessions_ended_total{cause=replaced}": 1, "logins_total{result=ok}": 1}, func() {
		repeated(http.MethodGet, callback, first.cookies(w.Site)+"; "+second.cookies(w.Site), asNavigation...)
	})
	if got := w.events(); !slices.Equal(got, []string{"login", "login", "logout", "login", "session_replaced"}) {
		t.Errorf("the trail has %q", got)
	}
}

// TestLogoutAfterTheConsent: an auditor sees a logout also of a connection whose consent
// was over. A consent that ends by its time is told with who came back.
func TestLogoutAfterTheConsent(t *testing.T) {
	w := startAudited(t, "", "")
	w.app.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
	b := w.signedIn()
	w.sim.RevokeConsents()
	for range 2 { // the second one refreshes
		b.navigate(w.Site + "/page")
	}
	waitUntil(t, "the consent's end", func() bool { return slices.Contains(w.events(), "consent_ended") })
	b.do(http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
	w.app.answer(nil)
	w.sim.Set(func(s *simulator.Settings) { s.ConsentLifetime = 2 * time.Second })
	late := w.signedIn()
	waitUntil(t, "the consent's time", func() bool { return w.info(late)["reason"] == any("consent_expired") })
	late.navigate(w.Site + "/page")
	if got := w.events(); !slices.Equal(got, []string{"login", "consent_ended", "logout", "login", "consent_ended"}) {
		t.Fatalf("the trail has %q", got)
	}
	if last := w.trail()[4]; last["client_ip"] == "" || last["request_id"] == "" {
		t.Errorf("nobody came back: %v", last)
	}
	equal(t, "ended by consent", w.series()["sessions_ended_total{cause=consent}"], 2)
	equal(t, "ended by logout", w.series()["sessions_ended_total{cause=logout}"], 0)
}

// TestManyDisconnects: each connection is ended at TrueLayer, however many sign out at once.
func TestManyDisconnects(t *testing.T) {
	const n = 40 // more than are sent at once
	w := startAudited(t, "disconnect_on logout", "")
	browsers := make([]*browser, n)
	for i := range browsers {
		browsers[i] = w.signedIn()
	}
	hold := make(chan struct{})
	w.sim.Fail(simulator.Delete, simulator.Fault{Hold: hold})
	for _, b := range browsers {
		b.do(http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
	}
	close(hold)
	waitUntil(t, "the disconnects", func() bool { return strings.Count(fmt.Sprint(w.events()), "disconnected") == n })
}

// TestFailedRefreshesAreTold: a refresh that does not get as far as TrueLayer is told, too.
func TestFailedRefreshesAreTold(t *testing.T) {
	w := startAudited(t, "store slow", "")
	b := w.signedInExpired()
	lockFails.Store(true)
	defer lockFails.Store(false)
	equal(t, "status", b.navigate(w.Site+"/page").StatusCode, http.StatusServiceUnavailable)
	waitUntil(t, "the line", func() bool { return len(w.trail()) == 2 })
	if line := w.trail()[1]; line["event"] != "refresh_failed" || line["reason"] != "store_unavailable" || line["client_ip"] == "" {
		t.Errorf("%v", line)
	}
}

func init() { caddy.RegisterModule(new(panickingEvents)) }

// panickingEvents is a handler of events with a bug.
type panickingEvents struct{}

func (*panickingEvents) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.panicking", New: func() caddy.Module { return new(panickingEvents) }}
}

func (*panickingEvents) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*panickingEvents) Handle(context.Context, caddy.Event) error { panic("a handler's bug") }

// TestEventHandlerPanics: a bug in somebody's event handler does not end the process.
func TestEventHandlerPanics(t *testing.T) {
	w := startAudited(t, "", "events {\n\t\ton truelayer_login_failed panicking\n\t}")
	for range 2 {
		w.browser().navigate(w.Site + "/truelayer?error=access_denied")
	}
	waitUntil(t, "both panics", func() bool { return strings.Count(w.log.text(t), "a handler of Caddy's events has panicked") == 2 })
	w.signedIn()
}

// TestTraceOfTwoBlocks: of a request that goes through two blocks, the trace says what the
// one that protects it did.
func TestTraceOfTwoBlocks(t *testing.T) {
	w, c := startTracedWith(t, strings.Replace(plain, "reverse_proxy", `truelayer /second* {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/second
		auth_server   {{.AuthServer}}
	}
	reverse_proxy`, 1), "")
	b := w.signedIn()
	equal(t, "page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	waitUntil(t, "the span", func() bool { return len(c.requests("forwarded")) == 1 })
	equal(t, "spans of public requests", len(c.requests("public")), 0)
}
