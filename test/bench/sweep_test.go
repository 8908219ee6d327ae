package bench

import (
	"bytes"
	"fmt"
	mathrand "math/rand/v2"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// BenchmarkSweep is how long a reader of the memory store waits at most while
// the store sweeps a million expired records away, beside a million others. For
// comparison the second run has nothing to sweep. The store meets all of its
// records once a minute, so that takes
//
//	go test -run='^$' -bench=Sweep -benchtime=65s ./test/bench
//
// The longest Get by the clock may also have met another program on this
// processor. The longest wait is for the store's lock alone, and meant to be at
// most 2 ms.
func BenchmarkSweep(b *testing.B) {
	half := 1_000_000
	if isBrief() {
		half = 1000
	}
	for _, kind := range []struct {
		name string
		ttl  time.Duration
	}{{"expired", time.Nanosecond}, {"nothing expired", time.Hour}} {
		b.Run(kind.name, func(b *testing.B) {
			store := openIn(b)(string(MemoryStore(2 * half)))
			lasting := fill(b, store, half, time.Hour)
			fill(b, store, half, kind.ttl)
			runtime.GC() // and none while it reads: it allocates next to nothing
			waits := newLockWaits()
			defer runtime.SetBlockProfileRate(0)
			var longest, longestWait time.Duration
			for b.Loop() {
				id := lasting[mathrand.IntN(len(lasting))] //nolint:gosec // random, not secret
				began := time.Now()
				get(b, store, id)
				if took := time.Since(began); took > 20*time.Microsecond { // slow enough to have waited
					longest = max(longest, took)
					longestWait = max(longestWait, min(took, waits.since()))
				}
			}
			waits.since()
			b.ReportMetric(float64(longest.Nanoseconds()), "ns/longest-get")
			b.ReportMetric(float64(longestWait.Nanoseconds()), "ns/longest-wait")
			b.ReportMetric(float64(waits.count), "waits")
		})
	}
}

// lockWaits tells how long Gets of the memory store waited for its lock. It
// reads the runtime's block profile, which knows the wait and the place, and so
// leaves out what a clock around a Get counts as well: the scheduler, and other
// programs on the same processor.
type lockWaits struct {
	records []runtime.BlockProfileRecord
	// count is how many waits there were, and cycles how long they took together.
	count, cycles int64
	// rate is how many cycles pass in a nanosecond.
	rate float64
}

func newLockWaits() *lockWaits {
	runtime.SetBlockProfileRate(1) // every wait, however short
	w := &lockWaits{records: make([]runtime.BlockProfileRecord, 1000), rate: 1}
	// the profile's text form alone says what a cycle is
	var text bytes.Buffer
	_ = pprof.Lookup("block").WriteTo(&text, 1)
	for line := range strings.Lines(text.String()) {
		var perSecond float64
		if _, err := fmt.Sscanf(line, "cycles/second=%g", &perSecond); err == nil {
			w.rate = perSecond / float64(time.Second)
		}
	}
	w.since() // of the benchmarks before
	w.count = 0
	return w
}

// since returns how long Gets have waited since it was called last.
func (w *lockWaits) since() time.Duration {
	n, ok := runtime.BlockProfile(w.records)
	for !ok {
		w.records = make([]runtime.BlockProfileRecord, 2*n)
		n, ok = runtime.BlockProfile(w.records)
	}
	var count, cycles int64
	for _, record := range w.records[:n] {
		if inGet(record.Stack()) {
			count += record.Count
			cycles += record.Cycles
		}
	}
	waited := cycles - w.cycles
	w.count, w.cycles = count, cycles
	return time.Duration(float64(waited) / w.rate)
}

// inGet reports whether a stack is that of a Get of the memory store.
func inGet(stack []uintptr) bool {
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "(*MemoryStore).Get") {
			return true
		}
		if !more {
			return false
		}
	}
}
