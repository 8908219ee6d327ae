package truelayer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

const (
	// storeCheckTimeout bounds one check, and storeCheckInterval is the time between
	// two of them.
	storeCheckTimeout  = 5 * time.Second
	storeCheckInterval = 5 * time.Second
)

// checkStore reads once from the store, in the background, so that an operator learns
// at start that it does not answer, and not from the first visitor. If it does not, the
// check is repeated until it does or the configuration is replaced.
func (h *Handler) checkStore() {
	ctx, cancel := context.WithCancel(context.Background())
	h.release = append(h.release, func() error {
		cancel()
		return nil
	})
	name := storeName(h.store, h.storeType())
	go watchStore(ctx, h.sessions.Store, storeCheckInterval, h.logger.With(zap.String("store", name)))
}

// storeType returns the store's name, as in `store redis`. LoadModule takes the
// configuration away.
func (h *Handler) storeType() string {
	if module, ok := h.store.(caddy.Module); ok {
		return module.CaddyModule().ID.Name()
	}
	return ""
}

// storeName is what logs call a store: its type and, if it tells, where it is.
func storeName(store TokenStore, storeType string) string {
	if place, ok := store.(fmt.Stringer); ok {
		return storeType + " at " + place.String()
	}
	return storeType
}

func watchStore(ctx context.Context, store session.Store, interval time.Duration, logger *zap.Logger) {
	failed := false
	for {
		err := readNothing(ctx, store)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failed:
			logger.Info("the store answers now")
			return
		case err == nil:
			return
		case !failed:
			failed = true
			logger.Error("the store does not answer; until it does, requests that need it get status 503 and nobody is signed out", zap.Error(err))
		}
		if !flight.Sleep(ctx, interval) {
			return
		}
	}
}

// readNothing reads a record that is not there.
func readNothing(ctx context.Context, store session.Store) error {
	ctx, cancel := context.WithTimeout(ctx, storeCheckTimeout)
	defer cancel()
	_, err := store.Get(ctx, rand.Text())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer to a read in time: %w", err)
	}
	return err
}
