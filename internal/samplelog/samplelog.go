// Package samplelog drops log lines that repeat too often.
package samplelog

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// sampleInterval is the time in which equal lines are counted, and linesPerInterval
	// how many of them are written in that time.
	sampleInterval   = 10 * time.Second
	linesPerInterval = 10
)

// sampledCore writes only the first few of equal lines in an interval, because anybody
// can make the handler log a line as often as they like. The first line of a later
// interval says how many were left out. Lines are equal if they have the same message
// and the same reason, of which there are a few dozen. Debug lines are never left out,
// because whoever turns them on wants them all. Each of Caddy's logs still applies its
// own level and filter to the lines that are written.
type sampledCore struct {
	zapcore.Core
	samples *samples
}

type samples struct {
	now   func() time.Time
	mu    sync.Mutex
	byKey map[string]*sample
}

type sample struct {
	began   time.Time
	written int
	leftOut int
}

// New returns a logger that writes only the first few of equal lines in an interval. In
// the next interval it says how many it left out.
func New(logger *zap.Logger, now func() time.Time) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return &sampledCore{core, &samples{now: now, byKey: make(map[string]*sample)}}
	}))
}

// With implements zapcore.Core.
func (c *sampledCore) With(fields []zapcore.Field) zapcore.Core {
	return &sampledCore{c.Core.With(fields), c.samples}
}

// Check implements zapcore.Core.
func (c *sampledCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) {
		return checked
	}
	return checked.AddCore(entry, c)
}

// Write implements zapcore.Core.
func (c *sampledCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if entry.Level > zapcore.DebugLevel {
		write, leftOut := c.samples.allow(sampleKey(entry, fields))
		if !write {
			return nil
		}
		if leftOut > 0 {
			fields = append(slices.Clip(fields), zap.Int("left_out", leftOut))
		}
	}
	if checked := c.Core.Check(entry, nil); checked != nil {
		checked.Write(fields...)
	}
	return nil
}

// sampleKey returns the key by which equal lines are counted.
func sampleKey(entry zapcore.Entry, fields []zapcore.Field) string {
	for _, field := range fields {
		if field.Key == "reason" {
			return entry.Message + " " + field.String
		}
	}
	return entry.Message
}

// allow reports whether a line is to be written, and how many equal lines were left out
// since the last one that was.
func (s *samples) allow(key string) (write bool, leftOut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, this := s.now(), s.byKey[key]
	if this == nil {
		this = &sample{began: now}
		s.byKey[key] = this
	}
	if age := now.Sub(this.began); age < 0 || age >= sampleInterval {
		this.began, this.written = now, 0
	}
	if this.written == linesPerInterval {
		this.leftOut++
		return false, 0
	}
	this.written++
	leftOut, this.leftOut = this.leftOut, 0
	return true, leftOut
}
