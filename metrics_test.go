package truelayer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// TestLoginResults: each way in which a login can fail has a series.
func TestLoginResults(t *testing.T) {
	for kind, reason := range reasonOf {
		ofSessions := kind == session.TokenUnavailable || kind == session.Revoked
		if !ofSessions && !slices.Contains(loginResults, string(reason)) {
			t.Errorf("a login can fail with %s, which has no series", reason)
		}
	}
	for _, result := range loginResults {
		if _, ok := problems[reason(result)]; !ok && result != resultOK {
			t.Errorf("%s is no reason", result)
		}
	}
	// what has no series is not counted, and does no harm
	newSiteMetrics("site").loginEnded("bank", string(methodNotAllowed))
}

// TestProvidersAreBounded: no token can fill the memory with banks.
func TestProvidersAreBounded(t *testing.T) {
	m := newSiteMetrics("site")
	m.expect("ob-configured")
	for i := range 3 * maxProviders {
		m.loginEnded(fmt.Sprintf("bank-%d", i), resultOK)
	}
	m.loginEnded("ob-configured", resultOK)
	m.loginEnded("", resultOK)
	providers := make(map[string]bool)
	for _, line := range gathered(t, m) {
		if provider, ok := strings.CutPrefix(line, `caddy_truelayer_provider_logins_total{provider="`); ok {
			provider, _, _ = strings.Cut(provider, `"`)
			providers[provider] = true
		}
	}
	if len(providers) != maxProviders+1 || !providers["other"] || !providers["ob-configured"] {
		t.Errorf("%d providers have series", len(providers))
	}
}

// gathered returns the lines of a scrape.
func gathered(t *testing.T, c prometheus.Collector) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	return strings.Split(w.Body.String(), "\n")
}

// TestStoreMetrics: the metrics of a store are computed from its buckets.
func TestStoreMetrics(t *testing.T) {
	m := newStoreMetrics("a-store")
	for _, err := range []error{nil, nil, fs.ErrNotExist, errors.Join(fs.ErrNotExist, errors.New("wrapped")), errors.New("broken")} {
		m.get.add(50*time.Microsecond, err)
	}
	m.get.add(100*time.Microsecond, nil)
	m.get.add(2*time.Second, nil)
	m.get.add(time.Minute, context.DeadlineExceeded)
	m.get.add(time.Millisecond, context.Canceled)
	m.create.add(time.Millisecond, ErrFull)
	m.create.add(time.Millisecond, fs.ErrExist)
	m.replace.add(time.Millisecond, ErrConflict)
	lines := gathered(t, m)
	for _, want := range []string{
		`store_operations_total{operation="get",result="ok",store="a-store"} 4`,
		`store_operations_total{operation="get",result="absent",store="a-store"} 2`,
		`store_operations_total{operation="get",result="error",store="a-store"} 2`,
		`store_operations_total{operation="get",result="canceled",store="a-store"} 1`,
		`store_operations_total{operation="create",result="full",store="a-store"} 1`,
		`store_operations_total{operation="create",result="exists",store="a-store"} 1`,
		`store_operations_total{operation="replace",result="conflict",store="a-store"} 1`,
		`store_operations_total{operation="delete",result="ok",store="a-store"} 0`,
		`store_operation_duration_seconds_bucket{operation="get",store="a-store",le="0.0001"} 6`,
		`store_operation_duration_seconds_bucket{operation="get",store="a-store",le="0.001"} 7`,
		`store_operation_duration_seconds_bucket{operation="get",store="a-store",le="2.5"} 8`,
		`store_operation_duration_seconds_bucket{operation="get",store="a-store",le="+Inf"} 9`,
		`store_operation_duration_seconds_count{operation="get",store="a-store"} 9`,
		`store_operation_duration_seconds_sum{operation="get",store="a-store"} 62.0013`, // 60, 2, 0.001 and six times 0.00005
	} {
		if !slices.Contains(lines, metricsPrefix+want) {
			t.Errorf("there is no line %s in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

// TestTokenResults: an answer of the token endpoint has one of the results that have a
// series.
func TestTokenResults(t *testing.T) {
	for want, err := range map[string]*authserver.Error{
		"ok":              nil,
		"no_answer":       {Unsent: true},
		"rate_limited":    {Status: 429, Code: "invalid_grant"},
		"server_error":    {Status: 503},
		"unusable_answer": {Status: 404},
		"invalid_grant":   {Status: 400, Code: "invalid_grant"},
		"unauthorized":    {Status: 401, Code: "unauthorized"},
		"other_error":     {Status: 400, Code: "made-up"},
	} {
		if got := tokenResult(err); got != want || !slices.Contains(tokenResults, got) {
			t.Errorf("%+v is %s, want %s", err, got, want)
		}
	}
}

// TestObservingAllocatesNothing: what a request that is not traced pays for being
// counted is no memory.
func TestObservingAllocatesNothing(t *testing.T) {
	b := newBench(t, nil)
	q := arrived(requestWith("GET", nil))
	ctx, m := t.Context(), newStoreMetrics("a-store")
	n := testing.AllocsPerRun(100, func() {
		b.site.observer.requestServed(q, outcomeForwarded)
		o := begin(ctx, &m.get)
		o.end(nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestScrapeWhileProvisioning: Caddy's admin endpoint serves the metrics of a configuration
// while its blocks are provisioned.
func TestScrapeWhileProvisioning(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	secret := "hunter2-client-secret"
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = ctx.GetMetricsRegistry().Gather()
			}
		}
	}()
	for i := range 20 {
		h := &Handler{ClientID: "client", ClientSecret: &secret, RedirectURI: fmt.Sprintf("%s/truelayer%d", testOrigin, i)}
		if err := h.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Cleanup() }()
	}
	close(stop)
	<-done
}

// TestOddSites: a redirect URI's path may have any bytes.
func TestOddSites(t *testing.T) {
	for _, path := range []string{"/%FF", "/%C3%A4"} {
		h := provision(t, func(h *Handler) { h.RedirectURI = testOrigin + path })
		gathered(t, h.site.observer.metrics)
	}
}

// TestProviderOfALaterConfiguration: the bank that a later configuration names has its
// series from then on.
func TestProviderOfALaterConfiguration(t *testing.T) {
	provision(t, func(*Handler) {})
	h := provision(t, func(h *Handler) { h.ProviderID = "ob-monzo" })
	if lines := gathered(t, h.site.observer.metrics); !slices.Contains(lines, `caddy_truelayer_provider_logins_total{provider="ob-monzo",result="ok",site="app.example.com/truelayer"} 0`) {
		t.Error("there is no series")
	}
}

// TestUsedLoginIsToldOnce: a callback that another node has used up is one failed login.
func TestUsedLoginIsToldOnce(t *testing.T) {
	b := newBench(t, nil)
	core, logs := observer.New(zap.InfoLevel)
	b.site.observer.audit.logger = zap.New(core)
	node := anotherNode(t, b.Handler)
	v := visitor{}
	callback := v.depart(t, b, "/page")
	late := maps.Clone(v)
	v.ask(t, b.Handler, callback)
	if answer, _ := late.ask(t, node, callback); answer.Code != http.StatusBadRequest {
		t.Fatalf("%d", answer.Code)
	}
	if lines := gathered(t, b.site.observer.metrics); !slices.Contains(lines, `caddy_truelayer_logins_total{result="login_used",site="app.example.com/truelayer"} 1`) {
		t.Error(strings.Join(lines, "\n"))
	}
	if n := logs.FilterField(zap.String("reason", "login_used")).Len(); n != 1 {
		t.Errorf("%d lines about it", n)
	}
	// one that waits for its turn has not failed yet
	b.site.observer.loginFailed(t.Context(), "", tooManyLogins)
	if n := logs.FilterField(zap.String("reason", "too_many_logins")).Len(); n != 0 {
		t.Errorf("%d lines about a login that waits", n)
	}
}
