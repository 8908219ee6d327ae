package truelayer

import (
	"net/http"
	"slices"
	"sync"

	"go.uber.org/zap"
)

// replacedFields are the fields of answers that other handlers have replaced,
// each told of once. A `header` directive that is deferred, as every one with a
// deletion in its block is, changes an answer after this module has written it.
type replacedFields struct {
	mu   sync.Mutex
	told map[string]bool
}

// keptFields are the fields of an answer of ours that protect it.
var keptFields = []string{
	"Cache-Control", "Content-Security-Policy", "Location", "Referrer-Policy", "Set-Cookie", "X-Content-Type-Options",
}

// writeHeader writes the header of an answer of ours and looks whether what was
// set is still there.
func (h *Handler) writeHeader(w http.ResponseWriter, status int) {
	header := w.Header()
	set := make([][]string, len(keptFields))
	for i, field := range keptFields {
		set[i] = slices.Clone(header[field])
	}
	w.WriteHeader(status)
	for i, field := range keptFields {
		if slices.ContainsFunc(set[i], func(value string) bool { return !slices.Contains(header[field], value) }) {
			h.tellReplaced(field)
		}
	}
}

// checkForwarded looks whether an answer that was forwarded is still marked as
// one person's.
func (h *Handler) checkForwarded(header http.Header) {
	if !slices.Contains(header["Cache-Control"], "private") {
		h.tellReplaced("Cache-Control")
	}
}

func (h *Handler) tellReplaced(field string) {
	h.replaced.mu.Lock()
	defer h.replaced.mu.Unlock()
	if h.replaced.told[field] {
		return
	}
	if h.replaced.told == nil {
		h.replaced.told = make(map[string]bool)
	}
	h.replaced.told[field] = true
	h.logger.Warn("another handler has replaced a field that protects answers; "+
		"in a header directive write ?"+field+" in the place of "+field+", which sets the field only where it is missing",
		zap.String("field", field))
}
