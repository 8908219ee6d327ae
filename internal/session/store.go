package session

import (
	"context"
	"errors"
	"time"
)

// Store keeps the records of sessions. TokenStore in the module's root package documents
// its contract.
type Store interface {
	Get(ctx context.Context, id string) ([]byte, error)
	Create(ctx context.Context, id string, record []byte, ttl time.Duration) error
	Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error
	Delete(ctx context.Context, id string) error
}

// Locker is implemented by a Store that several processes share. Locker in the root
// package documents its contract.
type Locker interface {
	Lock(ctx context.Context, id string) (unlock func(), err error)
}

var (
	// ErrConflict is the error of Replace if another writer was first.
	ErrConflict = errors.New("the record was changed by another writer")

	// ErrFull is the error of Create if the store is at its configured limit.
	ErrFull = errors.New("the store has reached its configured limit of sessions")
)
