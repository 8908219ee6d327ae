package integration

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// series returns the module's series as a scrape would show them, by name without its
// prefix and with the labels but site. A histogram is shown by its count.
func (w *world) series() map[string]float64 {
	w.t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), "caddy_truelayer_")
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				if label.GetName() != "site" {
					labels = append(labels, label.GetName()+"="+label.GetValue())
				}
			}
			if !ours {
				continue
			}
			key := name
			if labels != nil {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			found[key] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return found
}

// counts runs what it is given, and checks which of the series with the prefixes
// changed by how much.
func (w *world) counts(t *testing.T, what string, prefixes []string, want map[string]float64, do func()) {
	t.Helper()
	before := w.series()
	do()
	after := w.series()
	got := make(map[string]float64)
	for name, value := range after {
		counted := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if counted && value != before[name] {
			got[name] = value - before[name]
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s: counted %v, want %v", what, got, want)
	}
}

// TestMetrics: what visitors do is counted once, where it has happened.
func TestMetrics(t *testing.T) {
	w := startRefreshing(t, "disconnect_on logout")
	all := []string{"requests_total", "login", "provider_logins", "token_requests", "token_request_duration", "refresh_wait", "sessions_ended"}

	b := w.browser()
	var callback string
	w.counts(t, "an anonymous navigation", all, map[string]float64{"requests_total{outcome=redirected}": 1, "login_starts_total": 1}, func() {
		callback = w.approve(b, w.Site+"/page")
	})
	w.counts(t, "a login", all, map[string]float64{
		"requests_total{outcome=redirected}": 1, "logins_total{result=ok}": 1, "provider_logins_total{provider=mock,result=ok}": 1,
		"token_requests_total{grant=authorization_code,result=ok}": 1, "token_request_duration_seconds{grant=authorization_code}": 1,
	}, func() { b.navigate(callback) })
	w.counts(t, "the same callback again", all, map[string]float64{"requests_total{outcome=redirected}": 1}, func() { b.navigate(callback) })
	w.counts(t, "a protected request", all, map[string]float64{"requests_total{outcome=forwarded}": 1}, func() { b.navigate(w.Site + "/page") })
	w.counts(t, "the session endpoint", all, map[string]float64{"requests_total{outcome=answered}": 1}, func() { w.info(b) })
	w.counts(t, "a script without a session", all, map[string]float64{"requests_total{outcome=refused}": 1}, func() { w.browser().fetch(w.Site + "/page") })
	second := w.browser()
	callback = w.approve(second, w.Site+"/page")
	cookies := b.cookies(w.Site) + "; " + second.cookies(w.Site) // as if both were tabs of one browser
	w.counts(t, "another login replaces the session", all, map[string]float64{
		"requests_total{outcome=redirected}": 1, "logins_total{result=ok}": 1, "provider_logins_total{provider=mock,result=ok}": 1,
		"token_requests_total{grant=authorization_code,result=ok}": 1, "token_request_duration_seconds{grant=authorization_code}": 1,
		"sessions_ended_total{cause=replaced}": 1,
	}, func() {
		w.browser().do(http.MethodGet, callback, append([]string{"Cookie", cookies}, asNavigation...)...)
	})
	third := w.signedIn()
	w.counts(t, "a logout", all, map[string]float64{"requests_total{outcome=redirected}": 1, "sessions_ended_total{cause=logout}": 1}, func() {
		third.do(http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
	})
}

// TestMetricsOfFailures: each login that fails is counted once, by its reason.
func TestMetricsOfFailures(t *testing.T) {
	w := start(t, plain, nil)
	logins := []string{"logins_total", "provider_logins_total", "token_requests_total"}
	failed := func(reason string) map[string]float64 {
		return map[string]float64{"logins_total{result=" + reason + "}": 1, "provider_logins_total{provider=unknown,result=" + reason + "}": 1}
	}
	refused := func(reason, result string) map[string]float64 {
		want := failed(reason)
		want["token_requests_total{grant=authorization_code,result="+result+"}"] = 1
		return want
	}
	for _, test := range []struct {
		query string
		want  map[string]float64
	}{
		{"", failed("callback_malformed")},
		{"?error=access_denied", failed("access_denied")},
		{"?error=server_error", failed("provider_error")},
		{"?code=x&state=y", failed("login_lost")},
		{"?code=x&state=y&iss=z", failed("issuer_mismatch")},
	} {
		w.counts(t, test.query, logins, test.want, func() { w.browser().navigate(w.Site + "/truelayer" + test.query) })
	}
	for _, test := range []struct {
		fault  simulator.Fault
		reason string
		result string
	}{
		{says400("invalid_grant"), "code_refused", "invalid_grant"},
		{says400("invalid_client"), "client_refused", "invalid_client"},
		{says400("unauthorized"), "client_refused", "unauthorized"},
		{says400("what_is_this"), "code_refused", "other_error"},
		{simulator.Fault{Status: http.StatusBadGateway}, "auth_server_unavailable", "server_error"},
		{simulator.Fault{Status: http.StatusOK, Body: "{}"}, "auth_server_unavailable", "unusable_answer"},
		{simulator.Fault{DropBefore: true}, "auth_server_unavailable", "no_answer"},
	} {
		b := w.browser()
		callback := w.approve(b, w.Site+"/page")
		test.fault.Times = 1
		w.sim.Fail(simulator.Token, test.fault)
		w.counts(t, test.result, logins, refused(test.reason, test.result), func() { b.navigate(callback) })
		w.sim.ClearFaults()
	}
}

func says400(code string) simulator.Fault {
	return simulator.Fault{Status: http.StatusBadRequest, ContentType: "application/json", Body: `{"error":"` + code + `"}`}
}

// TestMetricsOfRefreshes: a refresh is one token request however many wait for it, and
// how long each of them waited is measured. The end of a consent is counted once.
func TestMetricsOfRefreshes(t *testing.T) {
	w := startRefreshing(t, "")
	b := w.signedInExpired()
	hold := make(chan struct{})
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	w.counts(t, "two requests wait", []string{"token_requests", "refresh_wait", "requests_total"}, map[string]float64{
		"token_requests_total{grant=refresh_token,result=ok}": 1, "refresh_wait_seconds": 2,
		"requests_total{outcome=forwarded}": 2,
	}, func() {
		done := make(chan struct{}, 2)
		for range 2 {
			go func() { b.navigate(w.Site + "/page"); done <- struct{}{} }()
		}
		awaitWaiting(t, 2)
		close(hold)
		<-done
		<-done
	})
	equal(t, "in flight", w.series()["refreshes_in_flight"], 0)

	w.sim.RevokeConsents()
	b = w.signedInExpired()
	w.sim.RevokeConsents()
	w.counts(t, "a consent ends", []string{"sessions_ended"}, map[string]float64{"sessions_ended_total{cause=consent}": 1}, func() {
		for range 3 {
			b.navigate(w.Site + "/page")
		}
	})
}

// TestMetricsOfThePause: whoever looks sees that the auth server asks for a pause.
func TestMetricsOfThePause(t *testing.T) {
	w := startRefreshing(t, "refresh_timeout 1s")
	b := w.signedInExpired()
	equal(t, "paused", w.series()["auth_server_paused"], 0)
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	equal(t, "status", b.navigate(w.Site+"/page").StatusCode, http.StatusServiceUnavailable)
	equal(t, "paused", w.series()["auth_server_paused"], 1)
}

// TestMetricsFromTheStart: each series is there at 0 when a configuration is loaded, so
// that its first increase can be seen. They go on over reloads, and those of a site that
// is gone are gone.
func TestMetricsFromTheStart(t *testing.T) {
	w := start(t, plain, nil)
	first := w.series()
	for name, value := range first {
		if kept := strings.HasPrefix(name, "memory_records") || strings.HasPrefix(name, "store_operation"); !kept && value != 0 {
			t.Errorf("%s is %v", name, value) // of this process, and not of this site
		}
	}
	b := w.signedIn()
	if n := w.series()["requests_total{outcome=redirected}"]; n != 2 {
		t.Errorf("%v redirects", n)
	}
	for i := range 100 {
		path := fmt.Sprintf("{{.Site}}/gone%d", i)
		if err := w.load(strings.ReplaceAll(strings.Replace(plain, "{{.Site}}/truelayer", path, 1), "{{.Before}}", fmt.Sprintf("respond /version %d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.load(plain); err != nil {
		t.Fatal(err)
	}
	last := w.series()
	delete(last, "provider_logins_total{provider=mock,result=ok}")
	for name := range first {
		delete(last, name)
	}
	for name := range last {
		t.Errorf("%s came with reloads", name)
	}
	if text := w.metrics(); strings.Contains(text, "/gone") {
		t.Errorf("sites that are gone have series: %.300s", text[strings.Index(text, "/gone")-200:])
	}
	equal(t, "page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	if err := w.load(strings.Replace(plain, "{{.Before}}", "respond /version x", 1)); err != nil {
		t.Fatal(err)
	}
	if n := w.series()["requests_total{outcome=forwarded}"]; n != 1 {
		t.Errorf("after a reload %v requests are counted as forwarded", n)
	}
}

// TestMetricsOfTheStore: operations are counted by result.
func TestMetricsOfTheStore(t *testing.T) {
	w := startFaulty(t)
	store := []string{"store_operation"}
	b := w.signedIn()
	b.navigate(w.Site + "/page")
	w.counts(t, "a request", store, map[string]float64{
		"store_operations_total{operation=get,result=ok,store=faulty}": 1, "store_operation_duration_seconds{operation=get,store=faulty}": 1,
	}, func() { b.navigate(w.Site + "/page") })
	w.counts(t, "a made-up cookie", store, map[string]float64{
		"store_operations_total{operation=get,result=absent,store=faulty}": 1, "store_operation_duration_seconds{operation=get,store=faulty}": 1,
	}, func() {
		own, _ := b.ownCookies(w.Site)
		w.browser().do(http.MethodGet, w.Site+"/page", "Cookie", own.Name+"="+strings.Repeat("A", 43))
	})
}

// TestMetricsOfMemory: how full the memory store is, by the lowest limit of all blocks.
func TestMetricsOfMemory(t *testing.T) {
	w := start(t, strings.Replace(plain, "reverse_proxy", `truelayer /second* {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/second
		auth_server   {{.AuthServer}}
		store memory {
			max_sessions 70
		}
	}
	reverse_proxy`, 1), func(w *world) { w.Options = "store memory {\n max_sessions 80\n }" })
	w.signedIn()
	series := w.series()
	equal(t, "limit of sessions", series["memory_records_limit{kind=session}"], 70)
	equal(t, "limit of claims", series["memory_records_limit{kind=claim}"], 100_000)
	if n := series["memory_records{kind=session}"]; n < 1 {
		t.Errorf("%v sessions", n)
	}
	before := series["last_token_success_timestamp_seconds"]
	if age := time.Since(time.Unix(int64(before), 0)); age < 0 || age > time.Minute {
		t.Errorf("the last token came %v ago", age)
	}
}
