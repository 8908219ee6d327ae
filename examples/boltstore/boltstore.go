// Package boltstore is an example of a custom store. It keeps sessions in one
// file, with bbolt, so that they survive a restart. Only one Caddy can have the
// file open. To build the store into Caddy, import it beside the handler's
// package. To use it, write in the Caddyfile:
//
//	store bolt {
//		path /var/lib/caddy/sessions.db
//	}
package boltstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

func init() { caddy.RegisterModule(new(Store)) }

// Store keeps sessions in a bbolt file.
type Store struct {
	// The file, which is created if it does not exist. Required.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.truelayer.token_stores.bolt", New: func() caddy.Module { return new(Store) }}
}

// UnmarshalCaddyfile reads the store's block.
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "path" || !d.AllArgs(&s.Path) {
			return d.Err("store bolt has one option, path, with one argument")
		}
	}
	return nil
}

// Provision checks the configuration. It does not open the file: `caddy validate`
// calls Provision too, while another process may have the file open.
func (s *Store) Provision(caddy.Context) error {
	if s.Path == "" {
		return errors.New("store bolt: path is missing")
	}
	return nil
}

// files holds the open files by path. A file stays open until the process ends,
// since requests outlive the configuration under which they began. It need not be
// closed: everything that bbolt has acknowledged is on disk.
var files = struct {
	sync.Mutex
	open map[string]*bolt.DB
}{open: make(map[string]*bolt.DB)}

var bucket = []byte("sessions")

func (s *Store) file() (*bolt.DB, error) {
	files.Lock()
	defer files.Unlock()
	if file, ok := files.open[s.Path]; ok {
		return file, nil
	}
	file, err := bolt.Open(s.Path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	err = file.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	files.open[s.Path] = file
	return file, nil
}

// unexpired returns the record in a stored value, behind eight bytes with its
// expiry. The error is fs.ErrNotExist if the record has expired or does not exist.
func unexpired(value []byte) ([]byte, error) {
	if len(value) < 8 || time.Now().UnixMilli() >= int64(binary.BigEndian.Uint64(value)) { //nolint:gosec // written by put
		return nil, fs.ErrNotExist
	}
	return value[8:], nil
}

// Get implements truelayer.TokenStore.
func (s *Store) Get(ctx context.Context, id string) (record []byte, err error) {
	file, err := s.file()
	if err := errors.Join(ctx.Err(), err); err != nil {
		return nil, err
	}
	err = file.View(func(tx *bolt.Tx) error {
		found, err := unexpired(tx.Bucket(bucket).Get([]byte(id)))
		record = bytes.Clone(found) // the bytes of bbolt are valid only in here
		return err
	})
	return record, err
}

// write runs change in a transaction: all of it takes effect or nothing, and no
// other write runs meanwhile. It passes the current record, or the error of
// unexpired.
func (s *Store) write(ctx context.Context, id string, change func(b *bolt.Bucket, found []byte, err error) error) error {
	file, err := s.file()
	if err := errors.Join(ctx.Err(), err); err != nil {
		return err
	}
	return file.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		found, err := unexpired(b.Get([]byte(id)))
		return change(b, found, err)
	})
}

func put(b *bolt.Bucket, id string, record []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("the record would have expired before it was written")
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(ttl).UnixMilli()))
	return b.Put([]byte(id), append(value, record...))
}

// Create implements truelayer.TokenStore.
func (s *Store) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	return s.write(ctx, id, func(b *bolt.Bucket, _ []byte, err error) error {
		if err == nil {
			return fs.ErrExist
		}
		return errors.Join(sweep(b), put(b, id, record, ttl))
	})
}

// Replace implements truelayer.TokenStore.
func (s *Store) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	return s.write(ctx, id, func(b *bolt.Bucket, found []byte, err error) error {
		switch {
		case err != nil:
			return err
		case !bytes.Equal(found, old):
			return truelayer.ErrConflict
		}
		return put(b, id, record, ttl)
	})
}

// Delete implements truelayer.TokenStore.
func (s *Store) Delete(ctx context.Context, id string) error {
	return s.write(ctx, id, func(b *bolt.Bucket, _ []byte, _ error) error { return b.Delete([]byte(id)) })
}

// sweep looks at 20 records from a random one on, and deletes those that have
// expired. It runs for each new session, so expired records do not accumulate.
func sweep(b *bolt.Bucket) error {
	cursor := b.Cursor()
	id, value := cursor.Seek([]byte(rand.Text()))
	for range 20 {
		if id == nil {
			id, value = cursor.First()
			continue
		}
		if _, err := unexpired(value); err != nil {
			if err := cursor.Delete(); err != nil {
				return err
			}
		}
		id, value = cursor.Next()
	}
	return nil
}

// Interface guards
var (
	_ truelayer.TokenStore  = (*Store)(nil)
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
)
