package session

import (
	"bytes"
	"time"

	"github.com/patrickmn/go-cache"
)

const (
	// openedLifetime is how long an opened session is kept. The next sweep then removes
	// it.
	openedLifetime = time.Minute
	// openedShards is the number of shards, so that requests do not wait for each
	// other's locks, and openedInShard bounds the sessions in each.
	openedShards  = 64
	openedInShard = 64
)

// openedSessions caches sessions that this process has opened recently, so that the next
// request of the same visitor need not decrypt the record again. A session is found only
// under the id that is derived from the request's cookie, and only while the store has
// the very record that it was opened from. So the cache never returns a session whose
// record was changed, moved or deleted.
type openedSessions [openedShards]*cache.Cache

func newOpenedSessions() *openedSessions {
	var o openedSessions
	for i := range o {
		o[i] = cache.New(openedLifetime, 0)
	}
	return &o
}

func (o *openedSessions) shard(id string) *cache.Cache { return o[id[0]%openedShards] }

// get returns the session that was opened from a record with an id, or nil.
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

// isSame reports whether two records are equal. Stores that keep records in memory
// return the same slice again, which is checked first because it is fast.
func isSame(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

// put adds a session, and replaces an earlier one with its id. It does not add a session
// to a full shard: replacing another one for each request would cost more than it saves.
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

// sweep removes the sessions whose time is over.
func (o *openedSessions) sweep() {
	for _, shard := range o {
		shard.DeleteExpired()
	}
}
