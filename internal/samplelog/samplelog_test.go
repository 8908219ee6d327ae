package samplelog

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestSampledLines: of many lines that say the same some are written, and a later
// one says how many were not. What says something else is written.
func TestSampledLines(t *testing.T) {
	core, seen := observer.New(zapcore.DebugLevel)
	now := time.Unix(1_800_000_000, 0)
	logger := New(zap.New(core), func() time.Time { return now })
	logger = logger.With(zap.String("site", "here"))
	check := func(what string, want int, leftOut any) {
		t.Helper()
		lines := seen.TakeAll()
		if len(lines) != want {
			t.Errorf("%s: %d lines, want %d", what, len(lines), want)
			return
		}
		if got := lines[0].ContextMap()["left_out"]; fmt.Sprint(got) != fmt.Sprint(leftOut) {
			t.Errorf("%s: %v were left out, want %v", what, got, leftOut)
		}
		if lines[0].ContextMap()["site"] != "here" {
			t.Errorf("%s: a field is lost: %v", what, lines[0])
		}
	}
	for range 1000 {
		logger.Warn("a", zap.String("reason", "x"), zap.Int("status", 400))
	}
	check("many", linesPerInterval, nil)
	logger.Warn("a", zap.String("reason", "y"))
	check("for another reason", 1, nil)
	logger.Warn("b", zap.String("reason", "x"))
	check("another message", 1, nil)
	now = now.Add(sampleInterval)
	logger.Warn("a", zap.String("reason", "x"))
	check("later", 1, 1000-linesPerInterval)
	logger.Warn("a", zap.String("reason", "x"))
	check("and then", 1, nil)
	now = now.Add(-time.Hour)
	logger.Warn("a", zap.String("reason", "x"))
	check("after the clock was set back", 1, nil)
	for range 1000 {
		logger.Debug("c")
	}
	check("debug", 1000, nil)
}

// TestSampledLinesGoWhereTheyMay: each of several logs has a level and a filter of
// its own, which the sampling does not get around.
func TestSampledLinesGoWhereTheyMay(t *testing.T) {
	all, seen := observer.New(zapcore.DebugLevel)
	errors, seenErrors := observer.New(zapcore.ErrorLevel)
	logger := New(zap.New(zapcore.NewTee(all, errors)), time.Now)
	for _, level := range []zapcore.Level{zapcore.DebugLevel, zapcore.InfoLevel, zapcore.WarnLevel, zapcore.ErrorLevel} {
		logger.Log(level, "a line of level "+level.String())
	}
	if n := seen.Len(); n != 4 {
		t.Errorf("%d of 4 lines", n)
	}
	for _, line := range seenErrors.All() {
		if line.Level < zapcore.ErrorLevel {
			t.Errorf("among the errors: %s", line.Message)
		}
	}
	if n := seenErrors.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 1 {
		t.Errorf("%d of 1 errors", n)
	}
}
