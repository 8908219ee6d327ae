package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// scrapes are what Prometheus would have read, one value of a series for each scrape.
type scrapes struct {
	n      int
	values map[string][]float64
}

// scrape reads all series of the module once.
func (s *scrapes) scrape(t *testing.T) {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		name := family.GetName()
		if !strings.HasPrefix(name, "caddy_truelayer_") {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := `instance="127.0.0.1:2020",job="caddy"`
			for _, label := range metric.GetLabel() {
				labels += fmt.Sprintf(",%s=%q", label.GetName(), label.GetValue())
			}
			h := metric.GetHistogram()
			if h == nil {
				s.add(name, labels, metric.GetCounter().GetValue()+metric.GetGauge().GetValue())
				continue
			}
			s.add(name+"_count", labels, float64(h.GetSampleCount()))
			s.add(name+"_sum", labels, h.GetSampleSum())
			s.add(name+"_bucket", labels+`,le="+Inf"`, float64(h.GetSampleCount()))
			for _, bucket := range h.GetBucket() {
				s.add(name+"_bucket", labels+fmt.Sprintf(`,le="%g"`, bucket.GetUpperBound()), float64(bucket.GetCumulativeCount()))
			}
		}
	}
	s.n++
}

func (s *scrapes) add(name, labels string, value float64) {
	series := name + "{" + labels + "}"
	if s.values == nil {
		s.values = make(map[string][]float64)
	}
	s.values[series] = append(s.values[series], value)
}

// scrapeInterval is the time between two scrapes, as the rules see it.
const scrapeInterval = 30 * time.Second

// fires reports whether the example's rules fire an alert after the last scrape.
func (s *scrapes) fires(t *testing.T, alert string) bool {
	t.Helper()
	rules, err := filepath.Abs("../../examples/observability/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "rule_files: [%q]\nevaluation_interval: %v\ntests:\n  - interval: %v\n    input_series:\n", rules, scrapeInterval, scrapeInterval)
	var names []string
	for series := range s.values {
		names = append(names, series)
	}
	sort.Strings(names)
	for _, series := range names {
		values := s.values[series]
		if len(values) < s.n { // it came later
			fmt.Fprintf(&text, "      - series: '%s'\n        values: '_x%d %s'\n", series, s.n-len(values), joined(values))
			continue
		}
		fmt.Fprintf(&text, "      - series: '%s'\n        values: '%s'\n", series, joined(values))
	}
	fmt.Fprintf(&text, "    promql_expr_test:\n      - expr: count(ALERTS{alertname=%q,alertstate=\"firing\"})\n        eval_time: %v\n        exp_samples:\n          - labels: '{}'\n            value: 1\n",
		alert, time.Duration(s.n-1)*scrapeInterval)
	file := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "promtool", "test", "rules", file).CombinedOutput() //nolint:gosec // a file of ours
	if err != nil && !strings.Contains(string(out), "FAILED") {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	return err == nil
}

func joined(values []float64) string {
	return strings.Trim(fmt.Sprint(values), "[]")
}

// TestAlertsFire: what goes wrong in a running module makes the rules of
// examples/observability fire. Each scrape is half a minute later for the rules.
func TestAlertsFire(t *testing.T) {
	const healthyLogins = 6
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Fatal("promtool is missing; Debian has it in the package prometheus")
	}
	failing := func(fault simulator.Fault) func(*testing.T, *world) func() {
		return func(_ *testing.T, w *world) func() {
			w.sim.Fail(simulator.Token, fault)
			return func() {
				b := w.browser()
				b.navigate(w.approve(b, w.Site+"/page"))
			}
		}
	}
	for _, test := range []struct {
		alert   string
		scrapes int // until it has to fire
		options string
		// begin begins the trouble and returns what visitors do between two scrapes.
		begin func(*testing.T, *world) func()
	}{
		{"TrueLayerClientRefused", 25, "", failing(says400("invalid_client"))},
		{"TrueLayerLoginsFail", 25, "", failing(simulator.Fault{Status: http.StatusBadGateway})},
		{"TrueLayerNoToken", 25, "", failing(simulator.Fault{DropBefore: true})},
		{"TrueLayerBankLinksFail", 25, everyBank + consentOptions(""), func(t *testing.T, w *world) func() {
			w.sim.Fail(simulator.AuthURI, simulator.Fault{Status: http.StatusBadGateway})
			return func() {
				b := w.browser()
				_, form := w.consentForm(t, b, consentOfMock)
				w.consent(t, b, form)
			}
		}},
		{"TrueLayerLoginsLost", 40, "", func(_ *testing.T, w *world) func() {
			return func() {
				callback := w.approve(w.browser(), w.Site+"/page")
				w.browser().navigate(callback) // without the login's cookie
			}
		}},
		{"TrueLayerStoreErrors", 25, "store faulty", func(_ *testing.T, w *world) func() {
			b := w.signedIn()
			storeDown.Store(true)
			t.Cleanup(func() { storeDown.Store(false) })
			return func() { b.navigate(w.Site + "/page") }
		}},
		{"TrueLayerMemoryStoreFull", 25, "store memory {\nmax_sessions 10\n}", func(_ *testing.T, w *world) func() {
			for range 10 - healthyLogins {
				w.signedIn()
			}
			return func() {}
		}},
		{"TrueLayerRefreshSlow", 25, "scopes verification offline_access", func(t *testing.T, w *world) func() {
			b, hold := w.signedInExpired(), make(chan struct{})
			w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
			var waiting sync.WaitGroup
			for range 20 {
				waiting.Go(func() { b.navigate(w.Site + "/page") })
			}
			time.AfterFunc(5200*time.Millisecond, func() { close(hold) })
			return waiting.Wait
		}},
	} {
		t.Run(test.alert, func(t *testing.T) {
			var seen scrapes
			storeDown.Store(false)
			w := start(t, plain, func(w *world) { w.Options = test.options })
			for range healthyLogins {
				w.signedIn()
				seen.scrape(t)
			}
			for range 60 {
				seen.scrape(t)
			}
			if seen.fires(t, test.alert) {
				t.Error("it fires while all is well")
			}
			between := test.begin(t, w)
			for range test.scrapes {
				between()
				seen.scrape(t)
			}
			if !seen.fires(t, test.alert) {
				t.Error("it does not fire")
			}
		})
	}
}
