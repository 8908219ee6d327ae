package truelayer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// inFlight collects how many exchanges and refreshes the process has under way, with all
// auth servers together.
type inFlight struct{ authServers *caddy.UsagePool }

var (
	exchangesInFlight = prometheus.NewDesc(metricsPrefix+"exchanges_in_flight", "Exchanges of codes under way, those that wait for their turn included.", nil, nil)
	refreshesInFlight = prometheus.NewDesc(metricsPrefix+"refreshes_in_flight", "Refreshes of access tokens under way, those that wait for their turn included.", nil, nil)
)

// Describe implements prometheus.Collector.
func (inFlight) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- exchangesInFlight
	descriptions <- refreshesInFlight
}

// Collect implements prometheus.Collector.
func (f inFlight) Collect(metrics chan<- prometheus.Metric) {
	exchanges, refreshes := 0, 0
	f.authServers.Range(func(_, value any) bool {
		shared := value.(*session.Shared)
		exchanges += shared.Exchanges.Len()
		refreshes += shared.Refreshes.Len()
		return true
	})
	metrics <- prometheus.MustNewConstMetric(exchangesInFlight, prometheus.GaugeValue, float64(exchanges))
	metrics <- prometheus.MustNewConstMetric(refreshesInFlight, prometheus.GaugeValue, float64(refreshes))
}

// newPaused returns the collector that tells whether the auth server has asked a site's
// client to pause.
func newPaused(sessions *session.Manager, now func() time.Time) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        metricsPrefix + "auth_server_paused",
		Help:        "1 while the auth server asks the site's client to send fewer requests.",
		ConstLabels: siteLabel(sessions.Site),
	}, func() float64 {
		if sessions.Paused(now()) {
			return 1
		}
		return 0
	})
}

// Interface guard
var _ prometheus.Collector = inFlight{}
