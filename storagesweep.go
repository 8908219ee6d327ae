package truelayer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// storageSweepInterval is how often expired records are deleted, by one of
	// the processes that share the storage.
	storageSweepInterval = 15 * time.Minute
	// storageFolders is how many folders the records lie in.
	storageFolders = 256
	// sweepPause lets the storage breathe after each folder.
	sweepPause = 50 * time.Millisecond

	// maxListings is how often a folder is listed whose files come and go.
	maxListings = 100

	sweptKey = "truelayer/swept"
)

// sweepNowAndThen deletes expired records until ctx, which is the
// configuration's, ends. The waits are spread so that processes which started
// together do not sweep together.
func (s *StorageStore) sweepNowAndThen(ctx context.Context) {
	for wait(ctx, rand.N(storageSweepInterval)) { //nolint:gosec // spread, not secret
		if err := s.sweepDue(ctx); err != nil && ctx.Err() == nil {
			s.logger.Warn("sweeping expired sessions away failed; the next try follows by itself", zap.Error(err))
		}
	}
}

// sweepDue sweeps if nobody has for a while. The lease keeps two from doing it
// at once; the time of the last one is in the storage.
func (s *StorageStore) sweepDue(ctx context.Context) error {
	release, err := s.lease(ctx, sweptKey)
	if err != nil {
		return err
	}
	defer release()
	last, err := s.storage.Load(ctx, sweptKey)
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
	if err := s.sweepExpired(ctx); err != nil {
		return err
	}
	return s.storage.Store(ctx, sweptKey, binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())))
}

// sweepExpired looks at every record and deletes those that have expired, and
// likewise at leases, and at the names of locks whose record is not there.
func (s *StorageStore) sweepExpired(ctx context.Context) error {
	for folder := range storageFolders {
		keys, err := s.listFolder(ctx, folder)
		if err != nil {
			return err
		}
		for _, key := range keys {
			key = strings.TrimSuffix(key, lockNameSuffix)
			if _, ok := storageID(strings.TrimSuffix(key, leaseSuffix)); !ok {
				continue
			}
			if _, _, err := s.load(ctx, key); !errors.Is(err, fs.ErrNotExist) {
				continue // it lasts, or cannot be read
			}
			if err := s.deleteExpired(ctx, key); err != nil {
				return err
			}
		}
		if !wait(ctx, sweepPause) {
			return ctx.Err()
		}
	}
	return nil
}

// deleteExpired looks once more, alone: another login may have taken the id.
func (s *StorageStore) deleteExpired(ctx context.Context, key string) error {
	return s.exclusively(ctx, key, func(ctx context.Context, w *storageWrite) error {
		if _, _, err := s.load(ctx, key); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return w.remove(ctx)
	})
}

// List implements Lister, a folder or more at a time. The cursor is the number
// of the next folder.
func (s *StorageStore) List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error) {
	folder := 0
	if cursor != "" {
		if folder, err = strconv.Atoi(cursor); err != nil || folder < 0 {
			return nil, "", fmt.Errorf("listing sessions: %q is not a cursor of this store", cursor)
		}
	}
	for ; folder < storageFolders; folder++ {
		if len(ids) >= limit && len(ids) > 0 {
			return ids, strconv.Itoa(folder), nil
		}
		keys, err := s.listFolder(ctx, folder)
		if err != nil {
			return nil, "", err
		}
		for _, key := range keys {
			if id, ok := storageID(key); ok {
				ids = append(ids, id)
			}
		}
	}
	return ids, "", nil
}

// listFolder returns the keys in a folder. A file system's list ends where it
// finds that a file is gone, so it is asked again.
func (s *StorageStore) listFolder(ctx context.Context, folder int) (keys []string, err error) {
	prefix := fmt.Sprintf("%s/%02x", storagePrefix, folder)
	for range maxListings {
		keys, err = s.storage.List(ctx, prefix, false)
		if err == nil {
			return keys, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if !s.storage.Exists(ctx, prefix) {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("listing sessions: %w", err)
}
