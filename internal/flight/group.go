// Package flight runs work that must not be done twice at once, and that goes on
// when the caller who asked for it is gone: bounded in time and in number, with a
// share for each key.
package flight

import (
	"context"
	"errors"
	"fmt"
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
	most  int64
}

// NewGroup returns a Group of which most pieces of work run at once.
func NewGroup(most int64) *Group {
	return &Group{slots: semaphore.NewWeighted(most), most: most}
}

// Flight is a piece of work that is under way.
type Flight <-chan singleflight.Result

// Begin runs work under a key, unless it runs already. It is detached from its
// callers, and bounded by timeout with the wait for a slot.
func (g *Group) Begin(key string, timeout time.Duration, work func(context.Context) (any, error)) Flight {
	return g.BeginInTurn(key, timeout, func(context.Context) (func(), error) { return func() {}, nil }, work)
}

// BeginInTurn is Begin for work that waits for its turn before it waits for a slot.
func (g *Group) BeginInTurn(key string, timeout time.Duration, turn func(context.Context) (leave func(), err error), work func(context.Context) (any, error)) Flight {
	return g.calls.DoChan(key, func() (any, error) {
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
}

// BeginIfFree is Begin for work that nobody waits for and that may be left undone:
// it is, if there is no slot for it now.
func (g *Group) BeginIfFree(key string, timeout time.Duration, work func(context.Context) (any, error)) {
	if !g.slots.TryAcquire(1) {
		return
	}
	go func() {
		defer g.slots.Release(1)
		_, _, _ = g.calls.Do(key, func() (any, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return safely(ctx, work)
		})
	}()
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

// Wait returns when nothing is under way, or when ctx ends.
func (g *Group) Wait(ctx context.Context) {
	if g.slots.Acquire(ctx, g.most) == nil {
		g.slots.Release(g.most)
	}
}

// Await returns the work's result, or the error of ctx if that ends first; the work
// goes on.
func (f Flight) Await(ctx context.Context) (any, error) {
	select {
	case result := <-f:
		return result.Val, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
