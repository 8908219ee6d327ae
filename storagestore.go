package truelayer

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

func init() {
	caddy.RegisterModule(new(StorageStore))
}

// StorageStore keeps sessions in Caddy's storage, next to its certificates: in
// the file system, or wherever the configured storage module keeps its data.
// Sessions survive a restart. Every Caddy that uses the storage has the same
// sessions.
//
// A storage has no compare-and-swap, so each write takes a lock in the storage.
// In the file system this takes a few milliseconds, or a second when two
// processes write the same session at the same time. The store is meant for one
// machine, or for a few with some hundred logins a minute. Beyond that, use the
// Redis store.
type StorageStore struct {
	// The storage module to use instead of the one that Caddy is configured
	// with. Default: Caddy's own.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	// How long the process caches a session. It is also how long a logout on
	// another machine takes to take effect on this one. 0 turns the cache off.
	// Default: 2s.
	CacheTTL *caddy.Duration `json:"cache_ttl,omitempty"`

	records *storageRecords
	cache   *readCache
	key     string // in storageProcessStates; "" if there is nothing to release
}

const (
	defaultCacheTTL = 2 * time.Second
	maxCacheTTL     = time.Minute
)

// CaddyModule returns the Caddy module information.
func (*StorageStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.storage",
		New: func() caddy.Module { return new(StorageStore) },
	}
}

// UnmarshalCaddyfile sets the store up from Caddyfile tokens. Syntax:
//
//	store storage {
//		cache_ttl <duration>
//		storage   <module> { ... }
//	}
func (s *StorageStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		return d.Err("store storage takes a block, nothing else on its line")
	}
	return s.options().Read(d, "store storage")
}

func (s *StorageStore) options() block.Options {
	return block.Options{
		{Name: "cache_ttl", Syntax: "<duration>", Value: block.DurationOrZero(&s.CacheTTL, defaultCacheTTL), Check: s.checkCacheTTL},
		{Name: "storage", Syntax: "<module> { ... }", Value: block.Module{
			Field: &s.StorageRaw, Namespace: "caddy.storage", Key: "module", What: "storage module", Example: "file_system",
		}},
	}
}

func (s *StorageStore) checkCacheTTL() error {
	if ttl := time.Duration(*s.CacheTTL); ttl < 0 || ttl > maxCacheTTL {
		return fmt.Errorf("cache_ttl %v is not between 0 and %v: a logout on another machine takes this long to take effect", ttl, maxCacheTTL)
	}
	return nil
}

// Provision loads the storage module and starts the periodic sweep of expired
// sessions. It neither reads nor writes the storage.
func (s *StorageStore) Provision(ctx caddy.Context) error {
	options := s.options()
	options.SetDefaults()
	if err := options.Check(); err != nil {
		return fmt.Errorf("store storage: %w", err)
	}
	key := fmt.Sprintf("%v %s", time.Duration(*s.CacheTTL), s.StorageRaw)
	storage := ctx.Storage()
	if s.StorageRaw != nil {
		module, err := ctx.LoadModule(s, "StorageRaw")
		if err != nil {
			return fmt.Errorf("store storage: loading the storage module: %w", err)
		}
		converter, ok := module.(caddy.StorageConverter)
		if !ok {
			return fmt.Errorf("store storage: %T is not a storage module", module)
		}
		if storage, err = converter.CertMagicStorage(); err != nil {
			return fmt.Errorf("store storage: setting up the storage: %w", err)
		}
	}
	value, _, err := storageProcessStates.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newStorageProcessState(time.Duration(*s.CacheTTL)), nil
	})
	if err != nil {
		return err
	}
	shared := value.(*storageProcessState)
	s.cache, s.key = shared.cache, key
	s.records = &storageRecords{storage: storage, writers: &shared.writers, logger: ctx.Logger()}
	go s.records.sweepPeriodically(ctx)
	return nil
}

// Cleanup releases what stores in the process share. The store still works
// afterwards.
func (s *StorageStore) Cleanup() error {
	if s.key == "" {
		return nil
	}
	key := s.key
	s.key = ""
	_, err := storageProcessStates.Delete(key)
	return err
}

// Get implements TokenStore.
func (s *StorageStore) Get(ctx context.Context, id string) ([]byte, error) {
	if record, ok := s.cache.get(id); ok {
		return record, nil
	}
	start := s.cache.startRead(id)
	key, err := storageKey(id)
	if err != nil {
		return nil, err
	}
	record, expires, err := s.records.load(ctx, key)
	if err != nil {
		return nil, err
	}
	s.cache.keep(id, record, expires, start)
	return record, nil
}

// Create implements TokenStore.
func (s *StorageStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	return s.write(ctx, id, func(ctx context.Context, w *storageWrite) error {
		return w.create(ctx, record, ttl)
	})
}

// Replace implements TokenStore.
func (s *StorageStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	return s.write(ctx, id, func(ctx context.Context, w *storageWrite) error {
		return w.replace(ctx, old, record, ttl)
	})
}

// Delete implements TokenStore.
func (s *StorageStore) Delete(ctx context.Context, id string) error {
	return s.write(ctx, id, func(ctx context.Context, w *storageWrite) error {
		return w.remove(ctx)
	})
}

// write writes the record with the id, and drops it from the cache. It does so
// even after an error: a failed write may have taken effect, and a caller that
// lost against another process must see what that process wrote.
func (s *StorageStore) write(ctx context.Context, id string, write func(context.Context, *storageWrite) error) error {
	key, err := storageKey(id)
	if err != nil {
		return err
	}
	defer s.cache.forget(id)
	return s.records.exclusively(ctx, key, write)
}

// Lock implements Locker.
func (s *StorageStore) Lock(ctx context.Context, id string) (unlock func(), err error) {
	key, err := storageKey(id)
	if err != nil {
		return nil, err
	}
	if unlock, err = s.records.lease(ctx, key); err != nil {
		return nil, fmt.Errorf("waiting for a lock in the storage: %w", err)
	}
	s.cache.forget(id)
	return unlock, nil
}

// List implements Lister. A page consists of whole folders, and the cursor is
// the number of the next folder.
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
		keys, err := s.records.listFolder(ctx, folder)
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

// Interface guards
var (
	_ TokenStore            = (*StorageStore)(nil)
	_ Locker                = (*StorageStore)(nil)
	_ Lister                = (*StorageStore)(nil)
	_ caddy.Provisioner     = (*StorageStore)(nil)
	_ caddy.CleanerUpper    = (*StorageStore)(nil)
	_ caddyfile.Unmarshaler = (*StorageStore)(nil)
)
