package truelayer

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(new(StorageStore))
}

// StorageStore keeps sessions in Caddy's storage, where its certificates are:
// on the file system, or in whatever the storage module that you run keeps
// things in. They survive a restart, and every Caddy that shares the storage
// has them.
//
// A storage has no compare-and-swap, so each write takes one of its locks.
// With the file system that is a few milliseconds and a second when two
// processes write one session at the same moment. It is meant for one machine,
// or a few with some hundred logins a minute; beyond that use the Redis store.
type StorageStore struct {
	// The storage module, in the place of the one that Caddy is configured
	// with. Default: Caddy's own.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	// How long a session that was read is remembered in the process. It is also
	// how long a logout on another machine takes to hold here. 0 turns it off.
	// Default: 2s.
	CacheTTL *caddy.Duration `json:"cache_ttl,omitempty"`

	storage certmagic.Storage
	shared  *storageProcess
	key     string // shared's; "" if Cleanup has nothing to give back
	logger  *zap.Logger
}

const (
	defaultCacheTTL = 2 * time.Second
	maxCacheTTL     = time.Minute

	storagePrefix = "truelayer/sessions"
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
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "cache_ttl":
			var text string
			if s.CacheTTL != nil || !d.AllArgs(&text) {
				return d.Err("cache_ttl takes one duration, once")
			}
			ttl, err := caddy.ParseDuration(text)
			if err != nil {
				return d.Errf("cache_ttl %q is not a duration such as 2s, or 0", text)
			}
			s.CacheTTL = new(caddy.Duration(ttl))
			if err := s.checkCacheTTL(); err != nil {
				return d.WrapErr(err)
			}
		case "storage":
			if s.StorageRaw != nil || !d.NextArg() {
				return d.Err("storage takes the name of a storage module, once, for example file_system")
			}
			name := d.Val()
			module, err := caddyfile.UnmarshalModule(d, "caddy.storage."+name)
			if err != nil {
				return err
			}
			s.StorageRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
		default:
			return d.Errf("unknown option %q: store storage has cache_ttl and storage", d.Val())
		}
	}
	return nil
}

func (s *StorageStore) checkCacheTTL() error {
	if ttl := time.Duration(*s.CacheTTL); ttl < 0 || ttl > maxCacheTTL {
		return fmt.Errorf("cache_ttl %v is not between 0 and %v: a logout on another machine takes so long to hold", ttl, maxCacheTTL)
	}
	return nil
}

// Provision loads the storage module and begins to sweep expired sessions away
// now and then. It neither reads nor writes.
func (s *StorageStore) Provision(ctx caddy.Context) error {
	s.logger = ctx.Logger()
	if s.CacheTTL == nil {
		s.CacheTTL = new(caddy.Duration(defaultCacheTTL))
	}
	if err := s.checkCacheTTL(); err != nil {
		return fmt.Errorf("store storage: %w", err)
	}
	key := fmt.Sprintf("%v %s", time.Duration(*s.CacheTTL), s.StorageRaw)
	s.storage = ctx.Storage()
	if s.StorageRaw != nil {
		module, err := ctx.LoadModule(s, "StorageRaw")
		if err != nil {
			return fmt.Errorf("store storage: loading the storage module: %w", err)
		}
		converter, ok := module.(caddy.StorageConverter)
		if !ok {
			return fmt.Errorf("store storage: %T is not a storage module", module)
		}
		if s.storage, err = converter.CertMagicStorage(); err != nil {
			return fmt.Errorf("store storage: setting the storage up: %w", err)
		}
	}
	value, _, err := storageProcesses.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newStorageProcess(time.Duration(*s.CacheTTL)), nil
	})
	if err != nil {
		return err
	}
	s.shared, s.key = value.(*storageProcess), key
	go s.sweepNowAndThen(ctx)
	return nil
}

// Cleanup gives the process's share back. The store goes on answering.
func (s *StorageStore) Cleanup() error {
	if s.key == "" {
		return nil
	}
	key := s.key
	s.key = ""
	_, err := storageProcesses.Delete(key)
	return err
}

// storageKey is where the record with the id is: its digits in hexadecimal,
// which no file system takes for something else, in one of 256 folders.
func storageKey(id string) (string, error) {
	if id == "" { // would be the folder of all sessions
		return "", errors.New("a session's id is empty")
	}
	name := hex.EncodeToString([]byte(id))
	return storagePrefix + "/" + name[:2] + "/" + name, nil
}

// storageID is the inverse of storageKey. Beside the records are leases, the
// names of locks, and on a file system files that are just being written.
func storageID(key string) (id string, ok bool) {
	decoded, err := hex.DecodeString(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil {
		return "", false
	}
	same, err := storageKey(string(decoded))
	return string(decoded), err == nil && same == key
}

// Get implements TokenStore.
func (s *StorageStore) Get(ctx context.Context, id string) ([]byte, error) {
	if record, ok := s.shared.cache.get(id); ok {
		return record, nil
	}
	seen := s.shared.cache.look(id)
	key, err := storageKey(id)
	if err != nil {
		return nil, err
	}
	record, expires, err := s.load(ctx, key)
	if err != nil {
		return nil, err
	}
	s.shared.cache.keep(id, record, expires, seen)
	return record, nil
}

// load reads a record from the storage: eight bytes of its end in Unix
// milliseconds, since a storage forgets nothing by itself, and the rest.
func (s *StorageStore) load(ctx context.Context, key string) (record []byte, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	stored, err := s.storage.Load(ctx, key)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(stored) >= 8 {
		expires = time.UnixMilli(int64(binary.BigEndian.Uint64(stored))) //nolint:gosec // as it was written
	}
	if !time.Now().Before(expires) {
		return nil, time.Time{}, fs.ErrNotExist
	}
	return stored[8:], expires, nil
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

// write writes the record with the id. The process forgets what it had read
// also after a failure: the write may have happened, and who lost against
// another process has to see what that one wrote.
func (s *StorageStore) write(ctx context.Context, id string, write func(context.Context, *storageWrite) error) error {
	key, err := storageKey(id)
	if err != nil {
		return err
	}
	defer s.shared.cache.forget(id)
	return s.exclusively(ctx, key, write)
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
