package session

import (
	"bytes"
	"time"

	"github.com/patrickmn/go-cache"
)

const (
	// openedLifetime is how long a session that was opened is kept so. The next
	// sweep then forgets it.
	openedLifetime = time.Minute
	// openedShards divides the sessions, so that requests do not wait for each
	// other, and openedInShard bounds each part of them.
	openedShards  = 64
	openedInShard = 64
)

// openedSessions are sessions that this process opened a moment ago, so that the
// next request of the same visitor need not open them again. One is found only under
// the id that is derived from the request's own cookie, and only while the whole
// record in the store is the one that it was opened from: a record that was changed,
// moved, or deleted is never served from here.
type openedSessions [openedShards]*cache.Cache

func newOpenedSessions() *openedSessions {
	var o openedSessions
	for i := range o {
		o[i] = cache.New(openedLifetime, 0)
	}
	return &o
}

func (o *openedSessions) shard(id string) *cache.Cache { return o[id[0]%openedShards] }

// get returns the session that was opened from the record under the id, or nil.
func (o *openedSessions) get(id string, record []byte) *Session {
	found, ok := o.shard(id).Get(id)
	if !ok {
		return nil
	}
	if s := found.(*Session); isSame(s.record, record) {
		return s
	}
	return nil
}

// isSame compares two records. Stores that keep them in the process return the same
// bytes again, which needs no second look.
func isSame(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

// keep keeps a session, in place of what was kept under its id. Of more sessions
// than there is room for some are opened for each request: to make room for each of
// them would cost more than it saves.
func (o *openedSessions) put(s *Session) {
	shard := o.shard(s.id)
	if shard.ItemCount() >= openedInShard {
		if _, kept := shard.Get(s.id); !kept {
			return
		}
	}
	shard.SetDefault(s.id, s)
}

func (o *openedSessions) forget(id string) { o.shard(id).Delete(id) }

// sweep forgets those whose time is over.
func (o *openedSessions) sweep() {
	for _, shard := range o {
		shard.DeleteExpired()
	}
}
