package truelayer

import (
	"context"
	"errors"
	"io/fs"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// storeMetrics counts the operations of the stores of one type, and how long they take.
// It is a Prometheus collector.
//
// A request reads its session's record, so this is on the way of each request. An
// operation that takes no longer than the first bucket's bound costs one atomic addition:
// both metrics are computed from the buckets when they are collected.
type storeMetrics struct {
	operations, duration *prometheus.Desc

	get, create, replace, remove, lock operationMetrics
}

func newStoreMetrics(storeType string) *storeMetrics {
	labels := prometheus.Labels{"store": storeType}
	m := &storeMetrics{
		operations: prometheus.NewDesc(metricsPrefix+"store_operations_total", "Operations of stores, by result.", []string{"operation", "result"}, labels),
		duration: prometheus.NewDesc(metricsPrefix+"store_operation_duration_seconds",
			"How long operations of stores took. Those of the first bucket count as half of its bound in the sum.", []string{"operation"}, labels),
	}
	for name, o := range map[string]*operationMetrics{"get": &m.get, "create": &m.create, "replace": &m.replace, "delete": &m.remove, "lock": &m.lock} {
		o.name, o.span = name, "truelayer.store "+name
	}
	return m
}

// operationMetrics counts the operations of one kind.
type operationMetrics struct {
	name    string
	span    string // the name of its span
	results [len(storeResults)]resultMetrics
}

// resultMetrics counts the operations with one result, by how long they took.
type resultMetrics struct {
	buckets [len(storeBuckets) + 1]atomic.Uint64
	// nanoseconds is how long the operations took, without those in the first bucket.
	nanoseconds atomic.Int64
}

// storeBuckets are the bounds of the histogram. Those of the first bucket were answered
// from memory.
var storeBuckets = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// storeResults are the values of the label result.
var storeResults = [...]string{"ok", "absent", "exists", "conflict", "full", "canceled", "error"}

// storeResult returns the index in storeResults of an operation that ended with err.
func storeResult(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, fs.ErrNotExist):
		return 1
	case errors.Is(err, fs.ErrExist):
		return 2
	case errors.Is(err, ErrConflict):
		return 3
	case errors.Is(err, ErrFull):
		return 4
	case errors.Is(err, context.Canceled): // the visitor has gone
		return 5
	}
	return 6
}

// stores holds the metrics of each type of store. There are as many types as modules.
var stores struct {
	mu     sync.Mutex
	byType map[string]*storeMetrics
}

func storeMetricsOf(storeType string) *storeMetrics {
	stores.mu.Lock()
	defer stores.mu.Unlock()
	m, ok := stores.byType[storeType]
	if !ok {
		m = newStoreMetrics(storeType)
		if stores.byType == nil {
			stores.byType = make(map[string]*storeMetrics)
		}
		stores.byType[storeType] = m
	}
	return m
}

// add counts an operation.
func (o *operationMetrics) add(took time.Duration, err error) {
	result := &o.results[storeResult(err)]
	if took <= storeBuckets[0] {
		result.buckets[0].Add(1)
		return
	}
	result.buckets[sort.Search(len(storeBuckets), func(i int) bool { return took <= storeBuckets[i] })].Add(1)
	result.nanoseconds.Add(int64(took))
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- m.operations
	descriptions <- m.duration
}

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, o := range []*operationMetrics{&m.get, &m.create, &m.replace, &m.remove, &m.lock} {
		var counts [len(storeBuckets) + 1]uint64
		var sum time.Duration
		for i := range o.results {
			total := uint64(0)
			for bucket := range counts {
				n := o.results[i].buckets[bucket].Load()
				counts[bucket] += n
				total += n
			}
			sum += time.Duration(o.results[i].nanoseconds.Load())
			metrics <- prometheus.MustNewConstMetric(m.operations, prometheus.CounterValue, float64(total), o.name, storeResults[i])
		}
		sum += time.Duration(counts[0]) * storeBuckets[0] / 2 //nolint:gosec // no process counts that far
		cumulative := make(map[float64]uint64, len(storeBuckets))
		count := uint64(0)
		for bucket, n := range counts {
			count += n
			if bucket < len(storeBuckets) {
				cumulative[storeBuckets[bucket].Seconds()] = count
			}
		}
		metrics <- prometheus.MustNewConstHistogram(m.duration, count, sum.Seconds(), cumulative, o.name)
	}
}

// Interface guard
var _ prometheus.Collector = (*storeMetrics)(nil)
