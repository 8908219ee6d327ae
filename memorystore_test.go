package truelayer_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

func openMemory(t *testing.T, maxSessions int) *truelayer.MemoryStore {
	t.Helper()
	s := &truelayer.MemoryStore{MaxSessions: maxSessions}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := s.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestMemoryStoreIsShared(t *testing.T) {
	old := openMemory(t, 0)
	if err := old.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	next := openMemory(t, 7) // another limit is no other memory
	if err := old.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, err := next.Get(t.Context(), "id"); err != nil {
		t.Error(err)
	}
	if err := new(truelayer.MemoryStore).Cleanup(); err != nil { // as after a failed Provision
		t.Error(err)
	}
	if _, err := next.Get(t.Context(), "id"); err != nil {
		t.Error(err)
	}
}

// TestMemoryStoreCountsClaims: records that only say that a code was used take no
// session's place, and are bounded all the same.
func TestMemoryStoreCountsClaims(t *testing.T) {
	const mostClaims = 100_000
	s := openMemory(t, 2)
	create := func(id, record string) error { return s.Create(t.Context(), id, []byte(record), time.Hour) }
	for i := range mostClaims {
		if err := create(fmt.Sprint("claim", i), "\x01claim"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		if err := create(fmt.Sprint("session", i), "\x01session"); err != nil {
			t.Fatal(err)
		}
	}
	for _, record := range []string{"\x01claim", "\x01session"} {
		if err := create("more", record); !errors.Is(err, truelayer.ErrFull) {
			t.Errorf("%q: got error %v, want %v", record, err, truelayer.ErrFull)
		}
	}
	if err := s.Delete(t.Context(), "claim0"); err != nil {
		t.Fatal(err)
	}
	if err := create("more", "\x01session"); !errors.Is(err, truelayer.ErrFull) {
		t.Errorf("a session in a claim's place: %v", err)
	}
	if err := create("more", "\x01claim"); err != nil {
		t.Error(err)
	}
}

func TestMemoryStoreFull(t *testing.T) {
	s := openMemory(t, 3)
	for i := range 3 {
		if err := s.Create(t.Context(), fmt.Sprint(i), []byte("record"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Create(t.Context(), "more", []byte("record"), time.Hour); !errors.Is(err, truelayer.ErrFull) {
		t.Errorf("got error %v, want %v", err, truelayer.ErrFull)
	}
	if err := s.Replace(t.Context(), "0", []byte("record"), []byte("new"), time.Hour); err != nil {
		t.Errorf("replace in a full store: %v", err)
	}
	if err := s.Delete(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "1"); err != nil { // counted once
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "more", []byte("record"), time.Hour); err != nil {
		t.Errorf("after a delete: %v", err)
	}
	if err := s.Create(t.Context(), "even more", []byte("record"), time.Hour); !errors.Is(err, truelayer.ErrFull) {
		t.Errorf("got error %v, want %v", err, truelayer.ErrFull)
	}
}
