package truelayer

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

const (
	metricsPrefix = "caddy_truelayer_"
	// maxProviders bounds the providers of a site that have series of their own.
	maxProviders = 64
)

// waitBuckets are the bounds of histograms of what a visitor waits for, in seconds.
var waitBuckets = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// sites holds the metrics of each site, so that they go on over reloads of the
// configuration. Each configuration has a registry of its own, so a site that is in no
// configuration any more has no series.
var sites = caddy.NewUsagePool()

// siteMetrics counts what happens at one site. It is a Prometheus collector. All series
// but those of providers exist from the start, since nobody can see an increase of a
// series that has just appeared.
type siteMetrics struct {
	collectors []prometheus.Collector

	requests           [len(outcomeNames)]prometheus.Counter
	loginStarts        prometheus.Counter
	logins             map[string]prometheus.Counter // by result
	providers          *boundedLabels
	providerLogins     *prometheus.CounterVec
	tokenRequests      map[string]map[string]prometheus.Counter // by grant and result
	tokenDuration      map[string]prometheus.Observer           // by grant
	bankLinks          map[string]prometheus.Counter            // by result
	renewalLinks       map[string]prometheus.Counter            // by result
	names              map[string]prometheus.Counter            // by result
	nameDuration       prometheus.Histogram
	refreshWait        prometheus.Histogram
	sessionsEnded      map[session.Cause]prometheus.Counter
	eventsDropped      prometheus.Counter
	lastTokenTimestamp prometheus.Gauge
}

// newSiteMetrics returns the metrics of a site.
func newSiteMetrics(site string) *siteMetrics {
	m := &siteMetrics{providers: newBoundedLabels(maxProviders)}
	labels := siteLabel(site)
	counters := func(name, help string, variable ...string) *prometheus.CounterVec {
		return collect(m, prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help, ConstLabels: labels}, variable))
	}
	histograms := func(name, help string, variable ...string) *prometheus.HistogramVec {
		return collect(m, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metricsPrefix + name, Help: help, ConstLabels: labels, Buckets: waitBuckets}, variable))
	}

	requests := counters("requests_total", "Requests that came to the handler, by what became of them.", "outcome")
	for i, name := range outcomeNames {
		m.requests[i] = requests.WithLabelValues(name)
	}
	m.loginStarts = counters("login_starts_total", "Visitors sent to the bank.").WithLabelValues()
	m.logins = resolve(counters("logins_total", "Logins that came back from the bank, by result: ok or a reason code.", "result"), loginResults)
	m.providerLogins = counters("provider_logins_total", "Logins that came back from the bank, by provider and result.", "provider", "result")
	requested := counters("token_requests_total", "Requests to the token endpoint, by grant and result.", "grant", "result")
	duration := histograms("token_request_duration_seconds", "How long requests to the token endpoint took.", "grant")
	m.tokenRequests, m.tokenDuration = make(map[string]map[string]prometheus.Counter), make(map[string]prometheus.Observer)
	for _, grant := range []string{"authorization_code", "refresh_token"} {
		m.tokenRequests[grant] = resolve(requested.MustCurryWith(prometheus.Labels{"grant": grant}), tokenResults)
		m.tokenDuration[grant] = duration.WithLabelValues(grant)
	}
	m.bankLinks = resolve(counters("bank_link_requests_total", "Requests for links to banks, for visitors who consented on the site's own page, by result.", "result"), tokenResults)
	m.renewalLinks = resolve(counters("renewal_link_requests_total", "Requests for links with which visitors renew their connection, by result.", "result"), tokenResults)
	m.names = resolve(counters("name_verifications_total", "Questions to banks about names, by result.", "result"), nameResults)
	m.nameDuration = collect(m, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: metricsPrefix + "name_verification_duration_seconds", Help: "How long questions to banks about names took.", ConstLabels: labels, Buckets: waitBuckets,
	}))
	m.refreshWait = collect(m, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: metricsPrefix + "refresh_wait_seconds", Help: "How long requests waited for the refresh of their token.", ConstLabels: labels, Buckets: waitBuckets,
	}))
	m.sessionsEnded = resolve(counters("sessions_ended_total", "Sessions that ended before their time, by cause.", "cause"),
		[]session.Cause{session.EndedByLogout, session.EndedByConsent, session.EndedByLogin, session.EndedByRevocation})
	m.eventsDropped = counters("events_dropped_total", "Caddy events that were dropped, because their handlers are slow or their configuration was replaced.").WithLabelValues()
	m.lastTokenTimestamp = collect(m, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: metricsPrefix + "last_token_success_timestamp_seconds", Help: "When the token endpoint last gave a token, 0 if never.", ConstLabels: labels,
	}))
	return m
}

// siteLabel is the label of a site. A redirect URI may have any bytes in its path.
func siteLabel(site string) prometheus.Labels {
	return prometheus.Labels{"site": strings.ToValidUTF8(site, "\uFFFD")}
}

// expect creates the series of the only bank of a block's visitors, or those for banks that
// are not known if provider is "".
func (m *siteMetrics) expect(provider string) {
	provider = m.providers.add(orUnknown(provider))
	for _, result := range loginResults {
		m.providerLogins.WithLabelValues(provider, result)
	}
}

// collect makes a collector a part of m and returns it.
func collect[C prometheus.Collector](m *siteMetrics, c C) C {
	m.collectors = append(m.collectors, c)
	return c
}

// resolve returns the counters of a label's values.
func resolve[V ~string](counters *prometheus.CounterVec, values []V) map[V]prometheus.Counter {
	resolved := make(map[V]prometheus.Counter, len(values))
	for _, value := range values {
		resolved[value] = counters.WithLabelValues(string(value))
	}
	return resolved
}

// Describe implements prometheus.Collector.
func (m *siteMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range m.collectors {
		c.Describe(descriptions)
	}
}

// Collect implements prometheus.Collector.
func (m *siteMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range m.collectors {
		c.Collect(metrics)
	}
}

// Destruct implements caddy.Destructor. Requests that are still running may go on to
// count.
func (*siteMetrics) Destruct() error { return nil }

// loginEnded counts a login that came back with one of loginResults.
func (m *siteMetrics) loginEnded(provider, result string) {
	logins, ok := m.logins[result]
	if !ok {
		return
	}
	logins.Inc()
	m.providerLogins.WithLabelValues(m.providers.add(orUnknown(provider)), result).Inc()
}

// tokenRequested counts a request to the token endpoint.
func (m *siteMetrics) tokenRequested(grant string, err *authserver.Error, began, now time.Time) {
	m.tokenRequests[grant][tokenResult(err)].Inc()
	m.tokenDuration[grant].Observe(now.Sub(began).Seconds())
	if err == nil {
		m.lastTokenTimestamp.Set(float64(now.UnixNano()) / 1e9)
	}
}

// register adds a collector to a configuration's registry. Blocks share collectors, so
// another block may have added it.
func register(registry *prometheus.Registry, c prometheus.Collector) error {
	err := registry.Register(c)
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return nil
	}
	return err
}

// Interface guards
var (
	_ prometheus.Collector = (*siteMetrics)(nil)
	_ caddy.Destructor     = (*siteMetrics)(nil)
)
