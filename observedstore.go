package truelayer

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// observedStore counts and traces the operations of a store.
type observedStore struct {
	store   session.Store
	locker  session.Locker // nil if the store has no locks
	metrics *storeMetrics
}

// observe returns a store whose operations are counted and traced. It has locks if the
// store has.
func observe(store session.Store, metrics *storeMetrics) session.Store {
	s := &observedStore{store: store, metrics: metrics}
	if locker, ok := store.(session.Locker); ok {
		s.locker = locker
		return observedLocker{s}
	}
	return s
}

// operation is an operation under way.
type operation struct {
	metrics *operationMetrics
	span    trace.Span // nil if nobody traces the request
	began   time.Time
}

func begin(ctx context.Context, m *operationMetrics) operation {
	return operation{m, startSpan(ctx, m.span), time.Now()}
}

func (o *operation) end(err error) {
	o.metrics.add(time.Since(o.began), err)
	if o.span != nil {
		endStoreSpan(o.span, err)
	}
}

// Get implements session.Store.
func (s *observedStore) Get(ctx context.Context, id string) ([]byte, error) {
	o := begin(ctx, &s.metrics.get)
	record, err := s.store.Get(ctx, id)
	o.end(err)
	return record, err
}

// Create implements session.Store.
func (s *observedStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	o := begin(ctx, &s.metrics.create)
	err := s.store.Create(ctx, id, record, ttl)
	o.end(err)
	return err
}

// Replace implements session.Store.
func (s *observedStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	o := begin(ctx, &s.metrics.replace)
	err := s.store.Replace(ctx, id, old, record, ttl)
	o.end(err)
	return err
}

// Delete implements session.Store.
func (s *observedStore) Delete(ctx context.Context, id string) error {
	o := begin(ctx, &s.metrics.remove)
	err := s.store.Delete(ctx, id)
	o.end(err)
	return err
}

// observedLocker is an observedStore with locks.
type observedLocker struct{ *observedStore }

// Lock implements session.Locker. It takes as long as another process holds the lock.
func (s observedLocker) Lock(ctx context.Context, id string) (unlock func(), err error) {
	o := begin(ctx, &s.metrics.lock)
	unlock, err = s.locker.Lock(ctx, id)
	o.end(err)
	return unlock, err
}

// Interface guards
var (
	_ session.Store  = (*observedStore)(nil)
	_ session.Locker = observedLocker{}
)
