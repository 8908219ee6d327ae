// Package flight runs work that must not run twice at the same time and that continues
// when its callers have gone. It bounds the time that the work takes and how much of it
// runs at once, in all and for each key.
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

// ErrBusy is the error of work that did not get a slot before its timeout.
var ErrBusy = errors.New("too many others are in progress")

// Group runs pieces of work, a limited number of them at once. Each has a key. Work that
// is begun while work with its key is running shares the result.
type Group struct {
	calls singleflight.Group
	slots *semaphore.Weighted

	mu       sync.Mutex
	underWay int
	idle     chan struct{}       // closed when underWay drops to 0, nil while it is 0
	optional map[string]struct{} // the keys of work that BeginIfFree has begun
}

// NewGroup returns a Group that runs at most limit pieces of work at once.
func NewGroup(limit int64) *Group {
	return &Group{slots: semaphore.NewWeighted(limit), optional: make(map[string]struct{})}
}

// Flight is a piece of work that has begun.
type Flight <-chan result

type result struct {
	value any
	err   error
}

// Begin runs work in the background, unless work with the same key is running already.
// The timeout includes the wait for a slot.
func (g *Group) Begin(key string, timeout time.Duration, work func(context.Context) (any, error)) Flight {
	return g.BeginInTurn(key, timeout, func(context.Context) (func(), error) { return func() {}, nil }, work)
}

// BeginInTurn is like Begin, but calls turn before it waits for a slot. When turn
// returns, it is the work's turn, and leave ends that turn.
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

// BeginIfFree runs work in the background that nobody waits for. It drops the work if
// BeginIfFree is already running work with the same key, or if no slot is free.
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

// safely runs work and turns a panic into an error, because with singleflight a panic
// would end the process.
func safely(ctx context.Context, work func(context.Context) (any, error)) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return work(ctx)
}

// Wait waits until no work is running or waiting for its turn or a slot, or until ctx
// ends.
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

// Await returns the work's result. If ctx ends first it returns the error of ctx, and
// the work continues.
func (f Flight) Await(ctx context.Context) (any, error) {
	select {
	case result := <-f:
		return result.value, result.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
