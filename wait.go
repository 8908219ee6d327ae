package truelayer

import (
	"context"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

// wait waits, and reports whether ctx lasted.
func wait(ctx context.Context, d time.Duration) bool { return flight.Sleep(ctx, d) }
