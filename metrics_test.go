package truelayer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

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
	newSiteMetrics("site", "").loginEnded("bank", string(methodNotAllowed))
}

// TestProvidersAreBounded: no token can fill the memory with banks.
func TestProvidersAreBounded(t *testing.T) {
	m := newSiteMetrics("site", "ob-configured")
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
