// Package flight runs work that must not be done twice at once, and that goes on
// when the caller who asked for it is gone: bounded in time and in number, with a
// share for each key.
package flight

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

// ErrBusy is the result of work that has got no slot in its time.
var ErrBusy = errors.New("too many others are under way")

// Group is pieces of work, of which so many run at once. Each has a key, under
// which it runs once, however many callers begin it meanwhile.
type Group struct {
	calls singleflight.Group
	slots *semaphore.Weighted

	mu       sync.Mutex
	underWay int
	idle     chan struct{}       // closed when nothing is under way any more, nil if nothing is
	optional map[string]struct{} // the keys of what BeginIfFree has begun
}

// NewGroup returns a Group of which most pieces of work run at once.
func NewGroup(most int64) *Group {
	return &Group{slots: semaphore.NewWeighted(most), optional: make(map[string]struct{})}
}

// Flight is a piece of work that is under way.
type Flight <-chan result

type result struct {
	value any
	err   error
}

// Begin runs work under a key, unless it runs already. It is detached from its
// callers, and bounded by timeout with the wait for a slot.
func (g *Group) Begin(key string, timeout time.Duration, work func(context.Context) (any, error)) Flight {
	return g.BeginInTurn(key, timeout, func(context.Context) (func(), error) { return func() {}, nil }, work)
}

// BeginInTurn is Begin for work that waits for its turn before it waits for a slot.
func (g *Group) BeginInTurn(key string, timeout time.Duration, turn func(context.Context) (leave func(), err error), work func(context.Context) (any, error)) Flight {
	done := make(chan result, 1)
	g.enter()
	go func() {
		defer g.leave()
		value, err, _ := g.calls.Do(key, func() (any, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			leave, err := turn(ctx)
			if err != nil {
				return nil, err
			}
			defer leave()
			if g.slots.Acquire(ctx, 1) != nil {
				return nil, ErrBusy
			}
			defer g.slots.Release(1)
			return safely(ctx, work)
		})
		done <- result{value, err}
	}()
	return done
}

// BeginIfFree runs work that nobody waits for and that may be left undone: it is, if
// it runs already under the key, or if there is no slot for it now.
func (g *Group) BeginIfFree(key string, timeout time.Duration, work func(context.Context)) {
	if !g.takeSlot(key) {
		return
	}
	go func() {
		defer g.releaseSlot(key)
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_, _ = safely(ctx, func(ctx context.Context) (any, error) { work(ctx); return nil, nil })
	}()
}

func (g *Group) takeSlot(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, runs := g.optional[key]; runs || !g.slots.TryAcquire(1) {
		return false
	}
	g.optional[key] = struct{}{}
	g.add(1)
	return true
}

func (g *Group) releaseSlot(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.optional, key)
	g.slots.Release(1)
	g.add(-1)
}

func (g *Group) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(1)
}

func (g *Group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(-1)
}

func (g *Group) add(n int) {
	if g.underWay == 0 {
		g.idle = make(chan struct{})
	}
	if g.underWay += n; g.underWay == 0 {
		close(g.idle)
		g.idle = nil
	}
}

// safely turns a panic into an error: singleflight would let it end the process.
func safely(ctx context.Context, work func(context.Context) (any, error)) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return work(ctx)
}

// Wait returns when nothing is under way, nor waits for its turn or a slot, or when
// ctx ends.
func (g *Group) Wait(ctx context.Context) {
	g.mu.Lock()
	idle := g.idle
	g.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// Await returns the work's result, or the error of ctx if that ends first; the work
// goes on.
func (f Flight) Await(ctx context.Context) (any, error) {
	select {
	case result := <-f:
		return result.value, result.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
