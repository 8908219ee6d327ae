package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/tokenstoretest"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s := &Store{Path: path}
	if err := s.Provision(caddy.Context{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	tokenstoretest.Run(t, func(t *testing.T) tokenstoretest.Medium {
		path := filepath.Join(t.TempDir(), "sessions.db")
		return tokenstoretest.Medium{Open: func(t *testing.T) truelayer.TokenStore { return open(t, path) }}
	})
}

func TestExpiredIsDeleted(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "sessions.db"))
	for i := range 10 {
		if err := s.Create(t.Context(), fmt.Sprint(i), []byte("record"), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for err := error(nil); !errors.Is(err, fs.ErrNotExist); {
		_, err = s.Get(t.Context(), "9")
	}
	if err := s.Create(t.Context(), "lasting", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	file, err := s.file()
	if err != nil {
		t.Fatal(err)
	}
	_ = file.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket(bucket).Stats().KeyN; n != 1 {
			t.Errorf("%d records are left", n)
		}
		return nil
	})
}

func TestCaddyfile(t *testing.T) {
	var s Store
	if err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser("bolt {\n path /tmp/x\n}")); err != nil || s.Path != "/tmp/x" {
		t.Error(s.Path, err)
	}
	if err := new(Store).UnmarshalCaddyfile(caddyfile.NewTestDispenser("bolt {\n file /tmp/x\n}")); err == nil {
		t.Error("an unknown option was accepted")
	}
}
