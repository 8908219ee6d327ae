package flight

import (
	"context"
	"errors"
	"sync"
)

// ErrTooMany is a Take's answer when as many wait already as may.
var ErrTooMany = errors.New("too many of its kind wait already")

// Limiter lets so many at once do what concerns a key. A key of which nobody does
// or waits for anything is not remembered.
type Limiter[K comparable] struct {
	// AtOnce is how many of one key have a place at once.
	MaxRunning int
	// AtMost is how many of one key have a place or wait for one; 0 is any number.
	MaxTotal int

	mu   sync.Mutex
	keys map[K]*keyState
}

type keyState struct {
	running chan struct{} // filled by those who have a place
	users   int           // those, and the ones that wait
}

// Take waits for a place, which leave gives back. The error is ErrTooMany, or that
// of ctx.
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

// Len is how many keys are remembered.
func (l *Limiter[K]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}
