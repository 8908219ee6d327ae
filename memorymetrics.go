package truelayer

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// memoryUse collects how full the memory store is.
type memoryUse struct {
	memory *memory
	// maxSessions is the lowest limit in the configuration: all blocks share one memory,
	// and the block with the lowest limit is the first to refuse logins.
	maxSessions atomic.Int64
}

var (
	memoryRecords      = prometheus.NewDesc(metricsPrefix+"memory_records", "Records in the memory store, by kind.", []string{"kind"}, nil)
	memoryRecordsLimit = prometheus.NewDesc(metricsPrefix+"memory_records_limit", "The largest number of records in the memory store, by kind.", []string{"kind"}, nil)
)

// registerMemoryUse adds the memory to a configuration's registry, with the limit of one
// block.
func registerMemoryUse(registry *prometheus.Registry, m *memory, maxSessions int) error {
	use := &memoryUse{memory: m}
	use.maxSessions.Store(int64(maxSessions))
	err := registry.Register(use)
	if again, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		earlier := &again.ExistingCollector.(*memoryUse).maxSessions
		earlier.Store(min(earlier.Load(), int64(maxSessions))) // blocks are provisioned one after another
		return nil
	}
	return err
}

// Describe implements prometheus.Collector.
func (*memoryUse) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- memoryRecords
	descriptions <- memoryRecordsLimit
}

// Collect implements prometheus.Collector.
func (u *memoryUse) Collect(metrics chan<- prometheus.Metric) {
	limit := u.maxSessions.Load()
	for _, kind := range []struct {
		name         string
		count, limit int64
	}{
		{"session", u.memory.sessions.Load(), limit},
		{"claim", u.memory.claims.Load(), claimLimit(limit)},
	} {
		metrics <- prometheus.MustNewConstMetric(memoryRecords, prometheus.GaugeValue, float64(kind.count), kind.name)
		metrics <- prometheus.MustNewConstMetric(memoryRecordsLimit, prometheus.GaugeValue, float64(kind.limit), kind.name)
	}
}

// Interface guard
var _ prometheus.Collector = (*memoryUse)(nil)
