package truelayer

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// maxQueuedEvents bounds the events that wait for their handlers.
const maxQueuedEvents = 256

// eventQueue emits Caddy events in the background, since Caddy runs the handlers of an
// event before Emit returns, and no request may wait for them. Events that do not fit
// into the queue are dropped, and so are those of a configuration that was replaced.
type eventQueue struct {
	app     *caddyevents.App // nil if nothing is emitted
	dropped prometheus.Counter
	logger  *zap.Logger

	mu     sync.Mutex
	queued chan event
	closed bool
}

// event is a Caddy event.
type event struct {
	name string
	data map[string]any
}

// newEventQueue returns the queue of a configuration. It emits events until ctx ends.
func newEventQueue(ctx caddy.Context, dropped prometheus.Counter) *eventQueue {
	q := &eventQueue{dropped: dropped, logger: ctx.Logger(), queued: make(chan event, maxQueuedEvents)}
	// Caddy's HTTP app has loaded the events app; outside of Caddy there is none
	if app, err := ctx.AppIfConfigured("events"); err == nil {
		q.app = app.(*caddyevents.App)
		go q.run(ctx)
	}
	return q
}

// add queues an event, if anybody listens to it.
func (q *eventQueue) add(name string, fields [][2]string) {
	if q.app == nil || !q.app.ShouldEmit(name) {
		return
	}
	data := make(map[string]any, len(fields))
	for _, field := range fields {
		data[field[0]] = field[1]
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		select {
		case q.queued <- event{name, data}:
			return
		default:
		}
	}
	q.dropped.Inc()
}

// run emits events until ctx ends, and drops what is left.
func (q *eventQueue) run(ctx caddy.Context) {
	for {
		select {
		case e := <-q.queued:
			q.emit(ctx, e)
		case <-ctx.Done():
			q.close()
			return
		}
	}
}

func (q *eventQueue) emit(ctx caddy.Context, e event) {
	if ctx.Err() != nil { // Caddy would log an error
		q.dropped.Inc()
		return
	}
	defer func() {
		if p := recover(); p != nil { // in a request net/http would recover
			q.logger.Error("a handler of Caddy's events has panicked", zap.Any("panic", p), zap.String("event", e.name), zap.Stack("stack"))
		}
	}()
	// each event gets placeholders of its own, which Caddy adds to ctx
	ctx.Context = context.WithValue(ctx.Context, caddy.ReplacerCtxKey, caddy.NewReplacer())
	q.app.Emit(ctx, e.name, e.data)
}

func (q *eventQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for range len(q.queued) {
		<-q.queued
		q.dropped.Inc()
	}
}
