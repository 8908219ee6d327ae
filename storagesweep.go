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
	// storageSweepInterval is how often expired records are deleted, by one of
	// the processes that share the storage.
	storageSweepInterval = 15 * time.Minute
	// sweepPause lets the storage breathe after each folder.
	sweepPause = 50 * time.Millisecond

	sweptKey = "truelayer/swept"
)

// sweepNowAndThen deletes expired records until ctx, which is the
// configuration's, ends. The waits are spread so that processes which started
// together do not sweep together.
func (r *storageRecords) sweepNowAndThen(ctx context.Context) {
	for flight.Sleep(ctx, rand.N(storageSweepInterval)) { //nolint:gosec // spread, not secret
		if err := r.sweepDue(ctx); err != nil && ctx.Err() == nil {
			r.logger.Warn("sweeping expired sessions away failed; the next try follows by itself", zap.Error(err))
		}
	}
}

// sweepDue sweeps if nobody has for a while. The lease keeps two from doing it
// at once; the time of the last one is in the storage.
func (r *storageRecords) sweepDue(ctx context.Context) error {
	release, err := r.lease(ctx, sweptKey)
	if err != nil {
		return err
	}
	defer release()
	last, err := r.storage.Load(ctx, sweptKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading when it was done last: %w", err)
	}
	now := time.Now()
	if len(last) == 8 {
		at := time.UnixMilli(int64(binary.BigEndian.Uint64(last))) //nolint:gosec // as it was written
		if ago := now.Sub(at); ago >= 0 && ago < storageSweepInterval {
			return nil
		}
	}
	if err := r.sweepExpired(ctx); err != nil {
		return err
	}
	return r.storage.Store(ctx, sweptKey, binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())))
}

// sweepExpired looks at every record and deletes those that have expired, and
// likewise at leases, and at the names of locks whose record is not there.
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
				continue // it lasts, or cannot be read
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

// deleteExpired looks once more, alone: another login may have taken the id.
func (r *storageRecords) deleteExpired(ctx context.Context, key string) error {
	return r.exclusively(ctx, key, func(ctx context.Context, w *storageWrite) error {
		if _, _, err := r.load(ctx, key); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return w.remove(ctx)
	})
}
