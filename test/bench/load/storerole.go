package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// storeRole says which store it is, and what is done with it.
type storeRole struct {
	Store json.RawMessage `caddy:"namespace=http.truelayer.token_stores inline_key=type"`
	// Seed is what the ids are derived from: another store at the same backing
	// finds the records.
	Seed string
	// Records is how many there are.
	Records int
	// Time is how long something is measured.
	Time time.Duration
}

// storeAlone is a store without a handler.
type storeAlone struct {
	storeRole
	store truelayer.TokenStore
	ids   []string

	mu     sync.Mutex
	unlock func() // of the lock that is held
}

// playStore is a store alone, in a process of its own.
func playStore(config []byte, control *http.ServeMux) (address string, stop func(), err error) {
	s := new(storeAlone)
	if err := json.Unmarshal(config, &s.storeRole); err != nil {
		return "", nil, err
	}
	if stop, err = s.load(); err != nil {
		return "", nil, err
	}
	s.ids = make([]string, s.Records)
	for i := range s.ids {
		s.ids[i] = s.id(i)
	}
	rand.Shuffle(len(s.ids), func(i, j int) { s.ids[i], s.ids[j] = s.ids[j], s.ids[i] }) //nolint:gosec // random, not secret
	serveTask(control, "/fill", s.fill)
	serveTask(control, "/again", s.readAgain)
	serveTask(control, "/once", s.readOnce)
	serveTask(control, "/write", s.write)
	serveTask(control, "/lock", s.lock)
	serveTask(control, "/unlock", s.release)
	return "", stop, nil
}

// load sets the store up as a Caddy does.
func (s *storeAlone) load() (stop func(), err error) {
	data, err := os.MkdirTemp("", "truelayer-bench-")
	if err != nil {
		return nil, err
	}
	configured, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true},
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
		StorageRaw: json.RawMessage(fmt.Sprintf(`{"module": "file_system", "root": %q}`, data)),
	})
	if err != nil {
		_ = os.RemoveAll(data)
		return nil, err
	}
	ctx, cancel := caddy.NewContext(configured)
	stop = func() {
		cancel()
		_ = os.RemoveAll(data)
	}
	module, err := ctx.LoadModule(&s.storeRole, "Store")
	if err != nil {
		stop()
		return nil, err
	}
	s.store = module.(truelayer.TokenStore)
	return stop, nil
}

// serveTask does something when it is asked to and answers with what came of
// it.
func serveTask[T any](control *http.ServeMux, path string, task func(context.Context) (T, error)) {
	control.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		answer, err := task(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
}

// id is an id as long and as random as those of sessions.
func (s *storeAlone) id(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", s.Seed, i))
	return string(sum[:])
}

// lock takes the lock of an id and returns how long that took.
func (s *storeAlone) lock(ctx context.Context) (time.Duration, error) {
	locker, ok := s.store.(truelayer.Locker)
	if !ok {
		return 0, errors.New("the store has no locks")
	}
	began := time.Now()
	unlock, err := locker.Lock(ctx, s.id(0))
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlock = unlock
	return took, nil
}

// release gives the lock back.
func (s *storeAlone) release(context.Context) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	s.unlock()
	return time.Since(began), nil
}
