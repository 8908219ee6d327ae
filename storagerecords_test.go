package truelayer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// TestStorageKey: no id leads out of the store's folder or to all of it.
func TestStorageKey(t *testing.T) {
	if key, err := storageKey(""); err == nil {
		t.Errorf("an empty id is %q", key)
	}
	for _, id := range []string{"a", "../../etc/passwd", "\x00", strings.Repeat("x", 64)} {
		key, err := storageKey(id)
		if err != nil || !strings.HasPrefix(key, storagePrefix+"/"+hex.EncodeToString([]byte(id))[:2]+"/") || strings.Contains(key, "..") {
			t.Errorf("%q is %q, %v", id, key, err)
		}
		if back, ok := storageID(key); !ok || back != id {
			t.Errorf("%q comes back as %q, %v", id, back, ok)
		}
	}
}

// TestStorageLockLost: a write that held its lock for too long does nothing.
func TestStorageLockLost(t *testing.T) {
	folder := t.TempDir()
	s := openStorage(t, folder, 0)
	w := &storageWrite{
		records: s.records, key: "truelayer/sessions/69/6964", lock: &storageLock{taken: time.Now().Add(-lockValid - time.Second)},
	}
	if err := w.store(t.Context(), []byte("record"), time.Hour); !errors.Is(err, errLockLost) {
		t.Errorf("got error %v, want %v", err, errLockLost)
	}
	if got := files(t, folder); len(got) > 0 {
		t.Errorf("it wrote %q", got)
	}
}

// oneValue is a storage that has the same under every key.
type oneValue struct {
	certmagic.Storage
	value []byte
}

func (o *oneValue) Load(context.Context, string) ([]byte, error) { return o.value, nil }

// FuzzStorage: of what lies in the storage only that is a record which has a
// time before it, one that has not come yet; and only files of ours are listed.
func FuzzStorage(f *testing.F) {
	at := func(t time.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli())) }
	key, err := storageKey("id")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(at(time.Now().Add(time.Hour)), "record"...), key)
	f.Add(at(time.Unix(0, 0)), key+".tmp")
	f.Add([]byte("short"), strings.ToUpper(key))
	f.Add(bytes.Repeat([]byte{0x7f}, 8), storagePrefix+"/00/../../acme/key")
	f.Add(bytes.Repeat([]byte{0xff}, 9), "00")
	f.Add([]byte(nil), "")
	storage := new(oneValue)
	records := &storageRecords{storage: storage}
	f.Fuzz(func(t *testing.T, stored []byte, name string) {
		storage.value = stored
		record, expires, err := records.load(t.Context(), key)
		switch {
		case err == nil:
			if len(stored) < 8 || !bytes.Equal(record, stored[8:]) || !expires.After(time.Now().Add(-time.Minute)) {
				t.Errorf("%q was read as %q, until %v", stored, record, expires)
			}
		case !errors.Is(err, fs.ErrNotExist):
			t.Errorf("%q: %v", stored, err) // it would be answered with 503 for ever
		}
		if id, ok := storageID(name); ok {
			if key, err := storageKey(id); err != nil || key != name {
				t.Errorf("%q is listed as %q, which is at %q", name, id, key)
			}
		}
		if name == "" {
			return
		}
		key, err := storageKey(name)
		if err != nil || path.Clean(key) != key || !strings.HasPrefix(key, storagePrefix+"/") || strings.Count(key, "/") != 3 {
			t.Errorf("the id %q is at %q: %v", name, key, err)
		}
		if id, ok := storageID(key); !ok || id != name {
			t.Errorf("the id %q at %q is listed as %q", name, key, id)
		}
	})
}
