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
)

// ErrBusy is the error of work that did not get a slot before its timeout.
var ErrBusy = errors.New("too many others are in progress")

// Group runs pieces of work, a limited number of them at once. Each has a key. Work that
// is begun while work with its key is running shares the result.
//
// It does what a singleflight.Group does, and tells in addition when it is idle. A caller
// who has gone leaves nothing behind.
type Group struct {
	slots *semaphore.Weighted

	mu      sync.Mutex
	flights map[string]*Flight
	idle    chan struct{} // closed when the last flight ends, nil if there is none
}

// NewGroup returns a Group that runs at most limit pieces of work at once.
func NewGroup(limit int64) *Group {
	return &Group{slots: semaphore.NewWeighted(limit), flights: make(map[string]*Flight)}
}

// Flight is a piece of work that has begun.
type Flight struct {
	// Starter is the context of the call that began the work. The work has its values,
	// and does not end with it.
	Starter context.Context

	done  chan struct{}
	value any
	err   error
}

// Begin runs work in the background, unless work with the same key is running already.
// The timeout includes the wait for a slot. The work's context has the values of ctx, and
// does not end with it.
func (g *Group) Begin(ctx context.Context, key string, timeout time.Duration, work func(context.Context) (any, error)) *Flight {
	return g.BeginInTurn(ctx, key, timeout, func(context.Context) (func(), error) { return func() {}, nil }, work)
}

// BeginInTurn is like Begin, but calls turn before it waits for a slot. When turn
// returns, it is the work's turn, and leave ends that turn.
func (g *Group) BeginInTurn(ctx context.Context, key string, timeout time.Duration, turn func(context.Context) (leave func(), err error), work func(context.Context) (any, error)) *Flight {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.flights[key]; ok {
		return f
	}
	return g.start(ctx, key, timeout, func(ctx context.Context) (any, error) {
		leave, err := turn(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
		if g.slots.Acquire(ctx, 1) != nil {
			return nil, ErrBusy
		}
		defer g.slots.Release(1)
		return work(ctx)
	})
}

// BeginIfFree runs work in the background that nobody waits for. It drops the work if
// work with the same key is running already, or if no slot is free.
func (g *Group) BeginIfFree(ctx context.Context, key string, timeout time.Duration, work func(context.Context)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, runs := g.flights[key]; runs || !g.slots.TryAcquire(1) {
		return
	}
	g.start(ctx, key, timeout, func(ctx context.Context) (any, error) {
		defer g.slots.Release(1)
		work(ctx)
		return nil, nil
	})
}

// start starts a flight. The caller holds g.mu.
func (g *Group) start(starter context.Context, key string, timeout time.Duration, work func(context.Context) (any, error)) *Flight {
	f := &Flight{Starter: starter, done: make(chan struct{})}
	g.flights[key] = f
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	go func() {
		defer g.end(key, f)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(starter), timeout)
		defer cancel()
		f.err = Safely(func() (err error) {
			f.value, err = work(ctx)
			return err
		})
	}()
	return f
}

// end forgets a flight and then shows its result, so that nobody who begins the work
// again gets the result of before.
func (g *Group) end(key string, f *Flight) {
	g.mu.Lock()
	delete(g.flights, key)
	if len(g.flights) == 0 {
		close(g.idle)
		g.idle = nil
	}
	g.mu.Unlock()
	close(f.done)
}

// Safely runs work and turns a panic into an error. In a goroutine of its own a panic, of
// somebody's store for example, would end the process.
func Safely(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return work()
}

// Len returns how many pieces of work are running or waiting for their turn or a slot.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.flights)
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
func (f *Flight) Await(ctx context.Context) (any, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
