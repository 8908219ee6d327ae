package simulator

import (
	"container/list"
	"time"
)

// expiring is a map whose entries expire. When it has max entries, a new one
// replaces the oldest. It is not safe for concurrent use.
//
// Expired entries are removed in the order in which they were added, up to the
// first that has not expired. Those behind it stay in memory, but are never
// returned.
type expiring[V any] struct {
	max   int
	order list.List // of *expiringEntry[V]
	index map[string]*list.Element
}

type expiringEntry[V any] struct {
	key   string
	value V
	until time.Time
}

func (e *expiring[V]) put(key string, value V, now, until time.Time) {
	if e.index == nil {
		e.index = make(map[string]*list.Element)
	}
	e.drop(key)
	for oldest := e.order.Front(); oldest != nil; oldest = e.order.Front() {
		entry := oldest.Value.(*expiringEntry[V])
		if len(e.index) < e.max && now.Before(entry.until) {
			break
		}
		e.drop(entry.key)
	}
	e.index[key] = e.order.PushBack(&expiringEntry[V]{key, value, until})
}

func (e *expiring[V]) get(key string, now time.Time) (value V, ok bool) {
	at, ok := e.index[key]
	if !ok {
		return value, false
	}
	entry := at.Value.(*expiringEntry[V])
	if !now.Before(entry.until) {
		e.drop(key)
		return value, false
	}
	return entry.value, true
}

func (e *expiring[V]) drop(key string) {
	if at, ok := e.index[key]; ok {
		e.order.Remove(at)
		delete(e.index, key)
	}
}

func (e *expiring[V]) each(f func(V)) {
	for at := e.order.Front(); at != nil; at = at.Next() {
		f(at.Value.(*expiringEntry[V]).value)
	}
}
