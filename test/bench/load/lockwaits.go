package main

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// lockWaits tells how long Gets of the memory store waited for its lock. It
// reads the runtime's own book of blocked goroutines, which knows the wait and
// the place, and so leaves out what a clock around a Get would count as well:
// the scheduler, and other programs on the same processor.
type lockWaits struct {
	records []runtime.BlockProfileRecord
	cycles  int64
	count   int64
	// rate is in how many cycles a nanosecond passes.
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
	return w
}

// since returns how long Gets have waited since it was called last.
func (w *lockWaits) since() time.Duration {
	n, ok := runtime.BlockProfile(w.records)
	if !ok {
		w.records = make([]runtime.BlockProfileRecord, 2*n)
		return w.since()
	}
	var cycles, count int64
	for _, record := range w.records[:n] {
		if inGet(record.Stack()) {
			cycles += record.Cycles
			count += record.Count
		}
	}
	waited := cycles - w.cycles
	w.cycles, w.count = cycles, count
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
