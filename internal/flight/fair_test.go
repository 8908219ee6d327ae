package flight

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var bounds = Bounds{All: 3, Network: 2, Waiting: 4, Queue: 100, EachMinute: 5, Timeout: time.Minute}

// asks wants work n times, each time under another key, and returns how many got it
// and how many did not.
func asks(t *testing.T, f *Fair, network netip.Prefix, n int, work func(context.Context) (any, error)) (done, busy int) {
	t.Helper()
	results := make(chan error)
	for i := range n {
		go func() {
			_, err := f.Do(t.Context(), network.String()+strconv.Itoa(i), network, work)
			results <- err
		}()
		synctest.Wait()
	}
	for range n {
		switch _, refused := errors.AsType[*BusyError](<-results); {
		case refused:
			busy++
		default:
			done++
		}
	}
	return done, busy
}

// TestFair: a network has a share at once and in a minute, and leaves the rest to others.
func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFair(bounds, time.Now)
		var running, most atomic.Int64
		work := func(context.Context) (any, error) {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			return nil, nil
		}
		if done, busy := asks(t, f, network(1), 10, work); done != bounds.Waiting || busy != 10-bounds.Waiting || most.Load() != int64(bounds.Network) {
			t.Errorf("%d done and %d not, %d at once", done, busy, most.Load())
		}
		if done, busy := asks(t, f, network(1), 4, work); done != 1 || busy != 3 {
			t.Errorf("the rest of the minute: %d done and %d not", done, busy)
		}
		if done, _ := asks(t, f, network(2), 1, work); done != 1 {
			t.Error("another network has to wait")
		}
		_, err := f.Do(t.Context(), "x", network(1), work)
		if refused, ok := errors.AsType[*BusyError](err); !ok || refused.RetryAfter <= 0 || refused.RetryAfter > time.Minute {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if done, _ := asks(t, f, network(1), 1, work); done != 1 {
			t.Error("the next minute brings nothing back")
		}
	})
}

// TestFairOnce: work with a key runs once, whoever goes, and costs its network one piece.
func TestFairOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFair(bounds, time.Now)
		runs := 0
		work := func(ctx context.Context) (any, error) { runs++; time.Sleep(time.Second); return runs, ctx.Err() }
		gone, cancel := context.WithCancel(t.Context())
		go func() { _, _ = f.Do(gone, "key", network(1), work) }()
		synctest.Wait()
		cancel()
		for range 20 {
			go func() {
				if got, err := f.Do(t.Context(), "key", network(1), work); got != 1 || err != nil {
					t.Errorf("%v, %v", got, err)
				}
			}()
		}
		f.group.Wait(t.Context())
		synctest.Wait()
		if runs != 1 || f.budget.spent[network(1)] != 1 {
			t.Errorf("%d runs, spent %d", runs, f.budget.spent[network(1)])
		}
	})
}

// TestFairPause: the server's pause holds for the network that caused it, and from a
// second one on for all. It ends, also when the clock was set back.
func TestFairPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		f := NewFair(bounds, func() time.Time { return now })
		paused := func(of int) bool { return f.pauseLeft(network(of)) > 0 }
		f.Pause(network(1), time.Minute)
		f.Pause(network(1), time.Second) // the longer one holds
		now = now.Add(30 * time.Second)
		if !paused(1) || paused(2) {
			t.Errorf("%v %v", paused(1), paused(2))
		}
		f.Pause(network(2), 10*time.Second)
		if !paused(1) || !paused(2) || !paused(3) {
			t.Error("a second network pauses none but itself")
		}
		now = now.Add(10 * time.Second)
		if !paused(1) || paused(2) || paused(3) {
			t.Error("the first network's pause is that of all")
		}
		now = now.Add(time.Minute)
		if paused(1) || paused(3) {
			t.Error("the pause does not end")
		}
		f.Pause(network(1), 100*time.Hour)
		now = now.Add(maxPause)
		if paused(1) {
			t.Error("it lasts too long")
		}
		f.Pause(network(1), time.Minute)
		now = now.Add(-24 * time.Hour)
		if paused(1) {
			t.Error("a clock that was set back keeps it")
		}
	})
}

// TestFairTimeout: what waits for the slots of all too long is not begun.
func TestFairTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFair(Bounds{All: 1, Network: 1, Waiting: 2, Queue: 100, EachMinute: 9, Timeout: time.Second}, time.Now)
		hold := make(chan struct{})
		defer close(hold)
		go func() {
			_, _ = f.Do(context.WithoutCancel(t.Context()), "long", netip.Prefix{}, func(context.Context) (any, error) { <-hold; return nil, nil })
		}()
		synctest.Wait()
		for _, of := range []int{1, 2} {
			_, err := f.Do(t.Context(), "short", network(of), func(context.Context) (any, error) { t.Error("begun"); return nil, nil })
			if _, refused := errors.AsType[*BusyError](err); !refused {
				t.Error(err)
			}
		}
	})
}

// TestFairWhileWaiting: what waits for a slot while its network uses up its share, or while
// the server asks for a pause, is not begun when the slot is there.
func TestFairWhileWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		begin int // how many may begin
		then  func(f *Fair)
	}{
		"budget": {bounds.EachMinute, func(*Fair) {}},
		"pause": {1, func(f *Fair) {
			f.Pause(network(1), time.Minute)
			f.Pause(network(2), time.Minute)
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := NewFair(Bounds{All: 1, Network: 20, Waiting: 20, Queue: 100, EachMinute: bounds.EachMinute, Timeout: time.Minute}, time.Now)
			var begun atomic.Int64
			results := make(chan error, 10)
			for i := range cap(results) {
				go func() {
					_, err := f.Do(t.Context(), strconv.Itoa(i), network(1), func(context.Context) (any, error) {
						if begun.Add(1) == 1 {
							time.Sleep(time.Second)
							test.then(f)
						}
						return nil, nil
					})
					results <- err
				}()
			}
			for range cap(results) {
				if err := <-results; err != nil {
					t.Logf("%s: %v", name, err)
				}
			}
			if n := begun.Load(); n != int64(test.begin) {
				t.Errorf("%s: %d have begun, %d may", name, n, test.begin)
			}
		})
	}
}

// TestFairQueue: all networks together have a bounded number that wait, whoever goes.
func TestFairQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bounds
		b.Queue = 10
		f := NewFair(b, time.Now)
		gone, cancel := context.WithCancel(t.Context())
		for i := range 1000 {
			go func() {
				_, _ = f.Do(gone, strconv.Itoa(i), network(i), func(context.Context) (any, error) { time.Sleep(time.Second); return nil, nil })
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if n := f.group.Len(); n > b.Queue+1 {
			t.Errorf("%d wait", n)
		}
		f.group.Wait(context.WithoutCancel(t.Context()))
	})
}
