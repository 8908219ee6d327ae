package truelayer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStorageSweep(t *testing.T) { synctest.Test(t, storageSweep) }

func storageSweep(t *testing.T) {
	folder := t.TempDir()
	s := openStorage(t, folder, 0)
	for i := range 20 {
		ttl := time.Hour
		if i%2 == 0 {
			ttl = time.Millisecond
		}
		if err := s.Create(t.Context(), fmt.Sprintf("%c %d", 'a'+i, i), []byte("record"), ttl); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	// what a process leaves behind that was killed in the middle of a write
	leftover := filepath.Join(folder, storagePrefix, "61", "1234567890")
	if err := os.WriteFile(leftover, []byte("record"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.records.sweepIfDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(files(t, folder+"/"+storagePrefix)); got != 10+1 {
		t.Errorf("%d files are left of 10 records that last and one of another's", got)
	}
	if err := s.Create(t.Context(), "short", []byte("record"), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := openStorage(t, folder, 0).records.sweepIfDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(files(t, folder+"/"+storagePrefix)); got != 10+1+1 {
		t.Errorf("%d files are left: a second process should not have swept so soon", got)
	}
	time.Sleep(time.Minute) // for those who keep locks' files fresh
}

// TestStorageLeavesNothing: with a session goes all that belonged to it, and
// what has no session is swept away.
func TestStorageLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		s := openStorage(t, folder, 0)
		locks := noteLocks(t, s)
		fill := func(ids ...string) {
			t.Helper()
			for _, id := range ids {
				if err := s.Create(t.Context(), id, []byte("record"), 2*time.Hour); err != nil {
					t.Fatal(err)
				}
			}
		}
		rename := func() { // the locks of what is there
			t.Helper()
			time.Sleep(time.Minute)
			locks.leave(t, text("text"))
		}
		fill("deleted", "expires")
		rename()
		for _, id := range []string{"deleted", "expires"} {
			if err := s.Replace(t.Context(), id, []byte("record"), []byte("record"), 2*time.Hour); err != nil {
				t.Fatal(err)
			}
			unlock, err := s.Lock(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			unlock()
		}
		if err := s.Delete(t.Context(), "deleted"); err != nil {
			t.Fatal(err)
		}
		if names := files(t, folder); len(names) != 2 {
			t.Errorf("%q are left of one record, whose lock has a new name", names)
		}
		// names of locks without a record, damaged ones, and leases of the dead
		for name, content := range map[string]string{
			"64/64" + lockNameSuffix:               "a name",
			"64/65" + lockNameSuffix:               "of another folder",
			"66/66" + lockNameSuffix:               "",
			"67/67" + leaseSuffix:                  strings.Repeat("\x00", 30),
			"68/68" + leaseSuffix + lockNameSuffix: "\x00",
		} {
			file := filepath.Join(folder, storagePrefix, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), text(content)(file)); err != nil {
				t.Fatal(err)
			}
		}
		fill("lasts")
		time.Sleep(90 * time.Minute)
		if err := s.Replace(t.Context(), "lasts", []byte("record"), []byte("record"), 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := s.records.sweepIfDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		key, err := storageKey("lasts")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{storagePrefix + "/64/65" + lockNameSuffix, key, lastSweepKey}
		if names := files(t, folder); !slices.Equal(names, want) {
			t.Errorf("%q are left, want %q", names, want)
		}
		time.Sleep(time.Minute)
	})
}
