package flight

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestGroup: work under one key runs once and goes on without its callers; all get
// its result.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(2)
		runs := 0
		work := func(ctx context.Context) (any, error) {
			runs++
			time.Sleep(time.Minute)
			return "done", ctx.Err()
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, second := g.Begin(t.Context(), "key", time.Hour, work), g.Begin(t.Context(), "key", time.Hour, work)
		if _, err := first.Await(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who left got %v", err)
		}
		if result, err := second.Await(t.Context()); result != "done" || err != nil || runs != 1 {
			t.Errorf("%v %v after %d runs", result, err, runs)
		}
	})
}

// TestGroupIsBounded: what gets no slot in its time is not done, what may be left
// undone is not waited for, and Wait waits for what is under way.
func TestGroupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(1)
		began := time.Now()
		sleep := func(context.Context) (any, error) { time.Sleep(time.Minute); return nil, nil }
		g.Begin(t.Context(), "long", time.Hour, sleep)
		synctest.Wait()
		g.BeginIfFree(t.Context(), "optional", time.Hour, func(context.Context) { t.Error("done without a slot") })
		if _, err := g.Begin(t.Context(), "short", time.Second, sleep).Await(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("without a slot: %v", err)
		}
		g.Wait(t.Context())
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited for %v", waited)
		}
		if _, err := g.Begin(t.Context(), "panics", time.Hour, func(context.Context) (any, error) { panic("oops") }).Await(t.Context()); err == nil || err.Error() != "panic: oops" {
			t.Errorf("a panic is %v", err)
		}
		if _, err := g.Begin(t.Context(), "after it", time.Second, func(context.Context) (any, error) { return nil, nil }).Await(t.Context()); err != nil {
			t.Error("the slot of what panicked is gone:", err)
		}
	})
}

// TestOptionalWork: what may be left undone runs once under a key, and takes one slot.
func TestOptionalWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(2)
		runs := make(map[string]int)
		for range 10 {
			g.BeginIfFree(t.Context(), "a", time.Hour, func(context.Context) { time.Sleep(time.Minute); runs["a"]++ })
		}
		g.BeginIfFree(t.Context(), "b", time.Hour, func(context.Context) { panic("oops") })
		g.Wait(t.Context())
		g.BeginIfFree(t.Context(), "b", time.Hour, func(context.Context) { runs["b"]++ })
		g.Wait(t.Context())
		if runs["a"] != 1 || runs["b"] != 1 {
			t.Errorf("ran %v", runs)
		}
	})
}

// TestWaitForThoseThatWait: what waits for its turn, or for a slot, is under way.
func TestWaitForThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(1)
		g.Wait(t.Context()) // for nothing
		done := 0
		work := func(context.Context) (any, error) { done++; return nil, nil }
		turn := func(context.Context) (func(), error) { time.Sleep(time.Minute); return func() {}, nil }
		for _, key := range []string{"a", "b", "c"} {
			g.BeginInTurn(t.Context(), key, time.Hour, turn, work)
		}
		g.Wait(t.Context())
		if done != 3 {
			t.Errorf("%d of 3 are done", done)
		}
		g.Begin(t.Context(), "long", time.Hour, func(context.Context) (any, error) { time.Sleep(time.Minute); return nil, nil })
		over, cancel := context.WithCancel(t.Context())
		cancel()
		g.Wait(over) // does not wait
		g.Wait(t.Context())
	})
}

// TestCallersWhoGo: whoever asks for work that is running and goes leaves nothing.
func TestCallersWhoGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(1)
		hold := make(chan struct{})
		work := func(context.Context) (any, error) { <-hold; return nil, nil }
		g.Begin(t.Context(), "key", time.Hour, work)
		synctest.Wait()
		before := runtime.NumGoroutine()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 1000 {
			_, _ = g.Begin(t.Context(), "key", time.Hour, work).Await(gone)
		}
		if n := runtime.NumGoroutine(); n > before || len(g.flights) != 1 {
			t.Errorf("%d goroutines, %d before, %d flights", n, before, len(g.flights))
		}
		close(hold)
	})
}

// TestLimiter: each key has its own places, and none is remembered for nothing.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Limiter[string]{MaxRunning: 1, MaxTotal: 2}
		leave, err := l.Take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, err := l.Take(t.Context(), "b")
		if err != nil {
			t.Fatal("another key has to wait:", err)
		}
		other()
		second := make(chan func())
		go func() {
			leave, err := l.Take(context.WithoutCancel(t.Context()), "a")
			if err != nil {
				t.Error(err)
			}
			second <- leave
		}()
		synctest.Wait()
		if _, err := l.Take(t.Context(), "a"); !errors.Is(err, ErrTooMany) {
			t.Errorf("a third one: %v", err)
		}
		leave()
		leave = <-second
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Take(impatient, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waits in vain gets %v", err)
		}
		leave()
		if n := l.Len(); n != 0 {
			t.Errorf("%d keys are remembered", n)
		}
	})
}
