package truelayer

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestCallbackWatch: that visitors come back from their bank without a callback is told
// of once. One callback, or visitors who were hardly away, are no reason to.
func TestCallbackWatch(t *testing.T) {
	for name, test := range map[string]struct {
		away     time.Duration
		callback bool
		want     int
	}{
		"no callback":           {time.Minute, false, 1},
		"one callback":          {time.Minute, true, 0},
		"hardly away":           {time.Second, false, 0},
		"away for half an hour": {31 * time.Minute, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			core, logs := observer.New(zapcore.WarnLevel)
			b.site.login.callbacks.logger = zap.New(core)
			if test.callback {
				signedIn(t, b)
			}
			for range 3 * maxReturns {
				v := visitor{}
				v.depart(t, b, "/page")
				b.clock.advance(test.away)
				v.depart(t, b, "/page")
			}
			if n := logs.Len(); n != test.want {
				t.Errorf("%d lines: %v", n, logs.All())
			}
		})
	}
}
