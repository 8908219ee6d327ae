package flight

import (
	"context"
	"time"
)

// Sleep sleeps for d or until ctx ends. It reports whether it slept for all of d.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
