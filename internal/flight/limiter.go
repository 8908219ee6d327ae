package flight

import (
	"context"
	"errors"
	"sync"
)

// ErrTooMany is the error of Take if too many others of the key are waiting already.
var ErrTooMany = errors.New("too many others are waiting already")

// Limiter limits how many callers do something at once, separately for each key. It
// uses no memory for keys that nobody uses.
type Limiter[K comparable] struct {
	// MaxRunning is how many callers of one key may hold a place at once.
	MaxRunning int
	// MaxTotal is how many callers of one key may hold a place or wait for one. Zero
	// means no limit.
	MaxTotal int

	mu   sync.Mutex
	keys map[K]*keyState
}

type keyState struct {
	running chan struct{} // one element for each caller that holds a place
	users   int           // callers that hold a place or wait for one
}

// Take waits for a place; leave gives it back. The error is ErrTooMany or that of ctx.
func (l *Limiter[K]) Take(ctx context.Context, key K) (leave func(), err error) {
	p := l.enter(key)
	if p == nil {
		return nil, ErrTooMany
	}
	select {
	case p.running <- struct{}{}:
		return func() {
			<-p.running
			l.exit(key, p)
		}, nil
	case <-ctx.Done():
		l.exit(key, p)
		return nil, ctx.Err()
	}
}

func (l *Limiter[K]) enter(key K) *keyState {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.keys[key]
	if !ok {
		p = &keyState{running: make(chan struct{}, l.MaxRunning)}
		if l.keys == nil {
			l.keys = make(map[K]*keyState)
		}
		l.keys[key] = p
	}
	if l.MaxTotal > 0 && p.users >= l.MaxTotal {
		return nil
	}
	p.users++
	return p
}

func (l *Limiter[K]) exit(key K, p *keyState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(l.keys, key)
	}
}

// Len returns how many keys are in use.
func (l *Limiter[K]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}
