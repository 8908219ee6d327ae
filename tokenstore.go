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
// A store moves bytes and knows nothing of OAuth. It is safe for concurrent
// use, bounds every call in time, gives up when the context ends, and still
// answers after its Cleanup, since requests outlive a reload. An id is a string
// of 1 to 64 bytes of any value: a store whose medium cannot hold such bytes
// encodes it. A record has at most 64 KiB. A store neither changes a record nor
// keeps only part of it, and its callers change neither what they give nor
// what they get.
//
// An error that is none of those named below means that the store failed:
// visitors then get an answer with status 503 and nobody is taken for signed
// out. A write that failed may have happened.
type TokenStore interface {
	// Get returns the record under id. The error is fs.ErrNotExist if there is
	// none or if it has expired, which is the same. A Get may answer from a
	// cache, whose age the store's documentation bounds: it is the time that a
	// logout in another process takes to hold. A Get that follows an
	// ErrConflict for the same id, or a Lock, reads past every cache.
	Get(ctx context.Context, id string) ([]byte, error)

	// Create keeps a record under an id that is free, for ttl, which is more
	// than nothing. Of several writers exactly one succeeds, in whichever
	// process they are. The error is fs.ErrExist if the id is taken, and
	// ErrFull if the store is at the limit that it was configured with.
	Create(ctx context.Context, id string, record []byte, ttl time.Duration) error

	// Replace puts a record in the place of old, and starts its ttl anew. It
	// is a compare-and-swap: of several writers that hold the same old record
	// exactly one succeeds. The error is fs.ErrNotExist if there is no record
	// or if it has expired, so that a session that was ended never comes back,
	// and ErrConflict if the record is not old.
	Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error

	// Delete forgets the record under id. If there is none that is no error.
	Delete(ctx context.Context, id string) error
}

// Locker is implemented by stores that several processes share. Its locks
// spare the token endpoint; nothing depends on them for being right: a holder
// may lose its lock without noticing, and writes go through Replace.
type Locker interface {
	// Lock waits until no process holds the lock for the id, or until ctx
	// ends, whose error it then returns. The lock ends when unlock is called,
	// or by itself some time after its holder died or stood still. An id's
	// lock and its record have nothing to do with each other: the one is
	// there, taken or free, without the other.
	Lock(ctx context.Context, id string) (unlock func(), err error)
}

// Lister is implemented by stores that can tell what they hold, for those who
// operate them. No request depends on it.
type Lister interface {
	// List returns the ids of some of the records, in any order, and where to
	// go on: cursor is "" in the first call and then what the call before
	// returned as next, which is "" after the last page. A page may have more
	// ids than limit, fewer, or none. A record that is there during the whole
	// listing is returned at least once; others may be, also ones that have
	// expired meanwhile.
	List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error)
}

var (
	// ErrConflict is a Replace's answer when another writer was first.
	ErrConflict = session.ErrConflict

	// ErrFull is a Create's answer when the store is at its configured limit.
	ErrFull = session.ErrFull
)

// Interface guards
var (
	_ session.Store  = TokenStore(nil)
	_ session.Locker = Locker(nil)
)

// checkWrite refuses what must not be written any more. It refuses a ttl that
// is over because go-cache would keep such a record for ever.
func checkWrite(ctx context.Context, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("the record would have expired before it was written")
	}
	return ctx.Err()
}
