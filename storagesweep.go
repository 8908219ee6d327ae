package truelayer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// storageSweepInterval is how often one of the processes that share the
	// storage deletes expired records.
	storageSweepInterval = 15 * time.Minute
	// sweepPause is the wait after each folder. It limits the load on the
	// storage.
	sweepPause = 50 * time.Millisecond

	// lastSweepKey is the storage key of the time of the last sweep.
	lastSweepKey = "truelayer/swept"
)

// sweepPeriodically deletes expired records until ctx, the context of the
// configuration, ends. The waits are random so that processes that started
// together do not sweep together.
func (r *storageRecords) sweepPeriodically(ctx context.Context) {
	for flight.Sleep(ctx, rand.N(storageSweepInterval)) { //nolint:gosec // random, not secret
		if err := r.sweepIfDue(ctx); err != nil && ctx.Err() == nil {
			r.logger.Warn("deleting expired sessions failed; it is tried again later", zap.Error(err))
		}
	}
}

// sweepIfDue sweeps unless another process did so within the interval. A lease
// keeps two processes from sweeping at once.
func (r *storageRecords) sweepIfDue(ctx context.Context) error {
	release, err := r.lease(ctx, lastSweepKey)
	if err != nil {
		return err
	}
	defer release()
	last, err := r.storage.Load(ctx, lastSweepKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the time of the last sweep: %w", err)
	}
	now := time.Now()
	if len(last) == 8 {
		at := time.UnixMilli(int64(binary.BigEndian.Uint64(last))) //nolint:gosec // written below
		if ago := now.Sub(at); ago >= 0 && ago < storageSweepInterval {
			return nil
		}
	}
	if err := r.sweepExpired(ctx); err != nil {
		return err
	}
	return r.storage.Store(ctx, lastSweepKey, binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())))
}

// sweepExpired deletes every record and every lease that has expired, and the
// names of locks whose record does not exist.
func (r *storageRecords) sweepExpired(ctx context.Context) error {
	for folder := range storageFolders {
		keys, err := r.listFolder(ctx, folder)
		if err != nil {
			return err
		}
		for _, key := range keys {
			key = strings.TrimSuffix(key, lockNameSuffix)
			if _, ok := storageID(strings.TrimSuffix(key, leaseSuffix)); !ok {
				continue
			}
			if _, _, err := r.load(ctx, key); !errors.Is(err, fs.ErrNotExist) {
				continue // not expired, or unreadable
			}
			if err := r.deleteExpired(ctx, key); err != nil {
				return err
			}
		}
		if !flight.Sleep(ctx, sweepPause) {
			return ctx.Err()
		}
	}
	return nil
}

// deleteExpired deletes a record if it is still expired once nobody else can
// write it. Another login may have taken the id meanwhile.
func (r *storageRecords) deleteExpired(ctx context.Context, key string) error {
	return r.exclusively(ctx, key, func(ctx context.Context, w *storageWrite) error {
		if _, _, err := r.load(ctx, key); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return w.remove(ctx)
	})
}
