package session

import (
	"sync"
	"time"
)

// watch is a session that is watched.
type watch struct {
	hasEnded func() (ended bool, next time.Duration)
	end      func()

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	looking bool // so that a look that takes long is not followed by others
}

// look finds out whether the session has ended, and looks again later.
func (w *watch) look() {
	w.mu.Lock()
	if w.stopped || w.looking {
		w.mu.Unlock()
		return
	}
	w.looking = true
	w.mu.Unlock()
	ended, next := w.hasEnded()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looking = false
	if w.stopped {
		return
	}
	if ended {
		w.end()
	}
	w.timer.Reset(next)
}

// stop ends the watch. It waits for a call of end that is under way.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

// watches are the sessions that this process watches.
type watches struct {
	mu   sync.Mutex
	byID map[string]map[*watch]struct{}
}

// begin begins to watch the session with an id. It looks at it for the first time after
// first.
func (ws *watches) begin(id string, first time.Duration, hasEnded func() (bool, time.Duration), end func()) (stop func()) {
	w := &watch{hasEnded: hasEnded, end: end}
	ws.add(id, w)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(first, w.look)
	return func() {
		w.stop()
		ws.remove(id, w)
	}
}

func (ws *watches) add(id string, w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byID == nil {
		ws.byID = make(map[string]map[*watch]struct{})
	}
	if ws.byID[id] == nil {
		ws.byID[id] = make(map[*watch]struct{})
	}
	ws.byID[id][w] = struct{}{}
}

func (ws *watches) remove(id string, w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.byID[id], w)
	if len(ws.byID[id]) == 0 {
		delete(ws.byID, id)
	}
}

// changed has the watched session with an id looked at, now that this process has ended it
// or its consent. It does not wait.
func (ws *watches) changed(id string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.byID[id] {
		go w.look()
	}
}
