package redisstore

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// eventually repeats what depends on another process.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline, ticker := time.NewTimer(time.Minute), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer ticker.Stop()
	for !happened() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// wantAway asks for a record until it is known that the server is away.
func wantAway(t *testing.T, s *Store, id string) {
	t.Helper()
	eventually(t, "the outage to be noticed", func() bool {
		_, err := s.Get(t.Context(), id)
		if err == nil {
			return false // the process had it, and has not been told yet
		}
		if errors.Is(err, fs.ErrNotExist) {
			t.Fatal("a server that does not answer was taken for one that has nothing")
		}
		return errors.Is(err, errDown)
	})
	if err := s.Create(t.Context(), "other", []byte("record"), time.Hour); !errors.Is(err, errDown) && err == nil {
		t.Error("something was created while the server was away")
	}
}

func wantBack(t *testing.T, s *Store, id string) {
	t.Helper()
	eventually(t, "the store to recover", func() bool {
		record, err := s.Get(t.Context(), id)
		if errors.Is(err, fs.ErrNotExist) {
			t.Fatal("the record is gone")
		}
		return err == nil && string(record) == "record"
	})
	if err := s.Replace(t.Context(), id, []byte("record"), []byte("record"), time.Hour); err != nil {
		t.Errorf("replace: %v", err)
	}
}

// TestAway: a server that is killed, or stands still, is not waited for, and
// its return is noticed.
func TestAway(t *testing.T) {
	redis := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, &Store{Address: []string{redis.Address}, Timeout: caddy.Duration(200 * time.Millisecond)})
	if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	wantBack(t, s, "id")
	for name, trouble := range map[string]struct{ begin, end func() }{
		"killed": {redis.Kill, redis.Restart},
		"frozen": {redis.Freeze, redis.Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			trouble.begin()
			wantAway(t, s, "id")
			trouble.end()
			wantBack(t, s, "id")
		})
	}
}

// TestReplaceDuringOutage: a refreshed token that waits to be kept is not
// turned away because others noticed that the server is away.
func TestReplaceDuringOutage(t *testing.T) {
	redis := redisserver.Start(t)
	s := open(t, &Store{Address: []string{redis.Address}})
	if err := s.Create(t.Context(), "id", []byte("old"), time.Hour); err != nil {
		t.Fatal(err)
	}
	s.server.outage.failures.Store(serverOutageThreshold)
	s.server.outage.next.Store(int64(clock() + time.Hour))
	if _, err := s.Get(t.Context(), "id"); !errors.Is(err, errDown) {
		t.Errorf("get: got error %v, want %v", err, errDown)
	}
	if err := s.Replace(t.Context(), "id", []byte("old"), []byte("new"), time.Hour); err != nil {
		t.Errorf("replace: %v", err)
	}
	if record, err := s.Get(t.Context(), "id"); err != nil || string(record) != "new" {
		t.Errorf("the answer did not end the outage: %q, %v", record, err)
	}
}

// TestOutage: of many who ask while the server is away, one at a time looks.
func TestOutage(t *testing.T) {
	o := outage{threshold: serverOutageThreshold}
	now := clock()
	begun := 0
	for range 2 * serverOutageThreshold {
		if o.recordFailure(now) {
			begun++
		}
	}
	if begun != 1 {
		t.Errorf("the outage began %d times", begun)
	}
	look := func(now time.Duration) (looking int) {
		for range 100 {
			if !o.active() || o.probe(now) == nil {
				looking++
			}
		}
		return looking
	}
	if n := look(now); n != 0 {
		t.Errorf("%d looked at once", n)
	}
	if n := look(now + probeInterval); n != 1 {
		t.Errorf("%d looked after a while", n)
	}
	if n := look(now + probeInterval); n != 0 {
		t.Errorf("%d looked again", n)
	}
	if !o.recordAnswer() || o.recordAnswer() || look(now) != 100 {
		t.Error("the outage did not end once")
	}
}

// TestClock: the time of day does not matter for who looks, only how much of
// it has passed.
func TestClock(t *testing.T) {
	if processStart == processStart.Round(0) { //nolint:staticcheck // Round(0) takes the monotonic clock's reading off, and == sees that
		t.Error("the clock can be set back")
	}
	if now := clock(); now < 0 || now > time.Since(processStart) || now > 24*time.Hour {
		t.Errorf("%v since the process began", now)
	}
}

// TestNoServerAtFirst: Caddy starts without Redis, and needs no reload when it
// comes.
func TestNoServerAtFirst(t *testing.T) {
	redis := redisserver.Start(t)
	redis.Kill()
	s := open(t, &Store{Address: []string{redis.Address}})
	wantAway(t, s, "id")
	redis.Restart()
	eventually(t, "the store to connect", func() bool {
		return s.Create(t.Context(), "id", []byte("record"), time.Hour) == nil
	})
	wantBack(t, s, "id")
}

// TestOthersWriteIsPushed: what another process writes reaches the process
// that has the record in its memory, without being asked for.
func TestOthersWriteIsPushed(t *testing.T) {
	redis := redisserver.Start(t)
	one := open(t, &Store{Address: []string{redis.Address}})
	other := open(t, &Store{Address: []string{redis.Address}})
	if err := one.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Get(t.Context(), "id"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := one.Delete(t.Context(), "id"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the logout to hold", func() bool {
		_, err := other.Get(t.Context(), "id")
		return errors.Is(err, fs.ErrNotExist)
	})
	t.Logf("a logout held on another node after %v", time.Since(began))
}

// TestLockIsRenewed while it is held, and given back.
func TestLockIsRenewed(t *testing.T) {
	redis := redisserver.Start(t)
	s := open(t, &Store{Address: []string{redis.Address}})
	unlock, err := s.Lock(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	key := s.key("id") + ":lock"
	if answer, err := redis.Do("PEXPIRE", key, "3000"); err != nil || answer != ":1" {
		t.Fatal(answer, err)
	}
	eventually(t, "the lock to be renewed", func() bool {
		answer, err := redis.Do("PTTL", key)
		return err == nil && len(answer) == len(":4999") && answer[1] >= '4'
	})
	unlock()
	if answer, err := redis.Do("EXISTS", key); err != nil || answer != ":0" {
		t.Error(answer, err)
	}
}

// TestCancelledWaits: a client that leaves does not look like an outage.
func TestCancelledWaits(t *testing.T) {
	redis := redisserver.Start(t)
	s := open(t, &Store{Address: []string{redis.Address}})
	if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	redis.Freeze()
	defer redis.Thaw()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 * serverOutageThreshold {
		wg.Go(func() {
			if err := s.Delete(ctx, "id"); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want %v", err, context.Canceled)
			}
		})
	}
	cancel()
	wg.Wait()
	if n := s.server.outage.failures.Load(); n != 0 {
		t.Errorf("%d failures were counted", n)
	}
}
