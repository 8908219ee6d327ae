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
	if err := s.Provision(caddy.Context{Context: t.Context()}); err != nil {
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
