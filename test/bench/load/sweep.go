package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"runtime"
	"time"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

const (
	// recordSize is that of a session's record with a token of 1.5 KB.
	recordSize = 1800
	// sweepTime is more than the minute in which the store looks at all of its
	// records once.
	sweepTime = 65 * time.Second
)

// sweepRole says what the store of a sweep holds.
type sweepRole struct {
	// Lasting records are read, Expired ones, as many, are there to be swept.
	Lasting, Expired int
}

// reading is what a reader of the store saw.
type reading struct {
	Gets int
	// Longest is the longest Get, whatever it was that took long.
	Longest time.Duration
	// Blocked is how often the reader had to wait for the sweep's lock,
	// LongestBlock its longest wait.
	Blocked      int64
	LongestBlock time.Duration
}

// measureSweep is how long a reader of the memory store waits at most while
// the store sweeps. A Get that takes long may also have met another program on
// this processor, so the waits for the store's lock are counted by themselves,
// and the same is done once more with a store in which nothing has expired.
func measureSweep(ctx context.Context, o *options, t *table) error {
	var results [2]reading
	for i, role := range []sweepRole{{o.sessions, o.sessions}, {2 * o.sessions, 0}} {
		p, err := start(ctx, roleSweep, runtime.NumCPU(), role)
		if err != nil {
			return err
		}
		err = p.ask(ctx, "/read", nil, &results[i])
		p.stop()
		if err != nil {
			return err
		}
	}
	sweep, control := results[0], results[1]
	t.add(fmt.Sprintf("longest wait of a reader for the sweep of %d expired records among %d", o.sessions, 2*o.sessions), "at most 2 ms",
		fmt.Sprintf("%s (%d waits in %d reads)", sweep.LongestBlock.Round(time.Microsecond), sweep.Blocked, sweep.Gets),
		sweep.LongestBlock <= 2*time.Millisecond)
	t.note("for comparison, the same with nothing expired",
		fmt.Sprintf("%s (%d waits in %d reads)", control.LongestBlock.Round(time.Microsecond), control.Blocked, control.Gets))
	t.note("longest read altogether, with and without expired records; it holds what the machine did meanwhile",
		fmt.Sprintf("%s, %s", sweep.Longest.Round(time.Microsecond), control.Longest.Round(time.Microsecond)))
	return nil
}

func playSweep(config []byte, control *http.ServeMux) (address string, stop func(), err error) {
	var role sweepRole
	if err := json.Unmarshal(config, &role); err != nil {
		return "", nil, err
	}
	store := &truelayer.MemoryStore{MaxSessions: role.Lasting + role.Expired}
	if err := store.Provision(caddy.Context{}); err != nil {
		return "", nil, err
	}
	control.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		answer, err := role.read(r.Context(), store)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	return "", func() { _ = store.Cleanup() }, nil
}

// read fills the store and then reads it for as long as a sweep takes.
func (s *sweepRole) read(ctx context.Context, store *truelayer.MemoryStore) (reading, error) {
	began := time.Now()
	lasting, err := keep(ctx, store, s.Lasting, time.Now().Add(time.Hour))
	if err != nil {
		return reading{}, err
	}
	// All of the others expire at one moment, when all are there: whatever
	// shard the sweep comes to then is full of them.
	expiry := time.Now().Add(3*time.Since(began) + time.Second)
	if _, err := keep(ctx, store, s.Expired, expiry); err != nil {
		return reading{}, err
	}
	runtime.GC() // and none while it reads: it allocates next to nothing
	time.Sleep(time.Until(expiry))

	waits := newLockWaits()
	var answer reading
	for began := time.Now(); began.Before(expiry.Add(sweepTime)) && ctx.Err() == nil; answer.Gets++ {
		id := lasting[mathrand.IntN(len(lasting))] //nolint:gosec // random, not secret
		began = time.Now()
		if _, err := store.Get(ctx, id); err != nil {
			return answer, err
		}
		if took := time.Since(began); took > 20*time.Microsecond { // slow enough to have waited
			answer.Longest = max(answer.Longest, took)
			answer.LongestBlock = max(answer.LongestBlock, min(took, waits.since()))
		}
	}
	waits.since()
	answer.Blocked = waits.count
	return answer, ctx.Err()
}

// keep creates records that expire at the same moment and returns their ids.
func keep(ctx context.Context, store *truelayer.MemoryStore, n int, expiry time.Time) ([]string, error) {
	ids := make([]string, n)
	for i := range ids {
		var id [32]byte
		_, _ = rand.Read(id[:])
		ids[i] = string(id[:])
		if err := store.Create(ctx, ids[i], make([]byte, recordSize), time.Until(expiry)); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
