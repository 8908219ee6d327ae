package truelayer

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// TokenStore keeps sessions as opaque, sealed records. Implementations are
// modules in the namespace `http.truelayer.token_stores`.
//
// A store moves bytes and knows nothing about OAuth. It is safe for concurrent
// use. Every call has a time limit and returns when its context ends. Calls
// still work after the store's Cleanup, since requests outlive a reload.
//
// An id is a string of 1 to 64 arbitrary bytes. A store whose medium cannot
// hold such bytes encodes them. A record has at most 64 KiB. A store keeps it
// whole and unchanged, and callers modify neither the records that they pass
// nor those that they get.
//
// Any error other than those named below means that the store failed. Visitors
// then get an answer with status 503, and nobody is treated as signed out. A
// write that failed may have taken effect.
type TokenStore interface {
	// Get returns the record under id. The error is fs.ErrNotExist if there is
	// no record or if it has expired. Get may answer from a cache. The store's
	// documentation says how old such an answer can be, since a logout in
	// another process takes that long to take effect. After an ErrConflict or
	// a Lock for the same id, Get returns nothing older than that call.
	Get(ctx context.Context, id string) ([]byte, error)

	// Create stores a record under an unused id for ttl, which is positive. If
	// several writers create the same id, in one process or several, exactly
	// one succeeds. The error is fs.ErrExist if the id is taken, and ErrFull if
	// the store has reached its configured limit.
	Create(ctx context.Context, id string, record []byte, ttl time.Duration) error

	// Replace replaces the record old and restarts its ttl. It is a
	// compare-and-swap: of several writers that hold the same old record,
	// exactly one succeeds. The error is fs.ErrNotExist if there is no record
	// or if it has expired, so an ended session never comes back. The error is
	// ErrConflict if the stored record is not old.
	Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error

	// Delete deletes the record under id. It returns nil if there is none.
	Delete(ctx context.Context, id string) error
}

// Locker is implemented by stores that several processes share. Its locks save
// calls to the token endpoint. Correctness does not depend on them: a holder
// may lose its lock without noticing, and Replace detects conflicting writes.
type Locker interface {
	// Lock waits until no other process holds the lock for id. If ctx ends
	// first, Lock returns its error. Calling unlock releases the lock. If the holder
	// dies or is paused, the lock expires after some time. Locks and records
	// are independent: an id needs no record to be locked, and a lock keeps
	// nobody from reading or writing the record.
	Lock(ctx context.Context, id string) (unlock func(), err error)
}

// Lister is implemented by stores that can list their records for operators.
// No request depends on it.
type Lister interface {
	// List returns the ids of one page of records, in any order. The first
	// call passes the cursor "", and each further call passes the next of the
	// call before. After the last page, next is "". A page may have more ids
	// than limit, fewer, or none. A record that exists during the whole
	// listing is returned at least once. Other records may be returned as
	// well, even expired ones.
	List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error)
}

var (
	// ErrConflict is returned by Replace if another writer was first.
	ErrConflict = session.ErrConflict

	// ErrFull is returned by Create if the store has reached its configured
	// limit.
	ErrFull = session.ErrFull
)

// Interface guards
var (
	_ session.Store  = TokenStore(nil)
	_ session.Locker = Locker(nil)
)

// checkWrite returns an error if it is too late for a write. The ttl must be
// positive because go-cache would otherwise keep the record forever.
func checkWrite(ctx context.Context, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("the record would have expired before it was written")
	}
	return ctx.Err()
}
