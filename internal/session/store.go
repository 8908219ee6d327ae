package session

import (
	"context"
	"errors"
	"time"
)

// Store is where sessions are kept. Its whole contract is that of TokenStore in the
// module's root package.
type Store interface {
	Get(ctx context.Context, id string) ([]byte, error)
	Create(ctx context.Context, id string, record []byte, ttl time.Duration) error
	Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error
	Delete(ctx context.Context, id string) error
}

// Locker is a Store that several processes share. Its contract is that of Locker in
// the root package.
type Locker interface {
	Lock(ctx context.Context, id string) (unlock func(), err error)
}

var (
	// ErrConflict is a Replace's answer when another writer was first.
	ErrConflict = errors.New("the record was changed by another writer")

	// ErrFull is a Create's answer when the store is at its configured limit.
	ErrFull = errors.New("the store has reached its configured limit of sessions")
)
