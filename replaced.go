package truelayer

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// replacedFields are the fields of answers that other handlers have replaced,
// each told of once. A `header` directive that is deferred, as every one with a
// deletion in its block is, changes an answer after this module has written it.
type replacedFields struct {
	logger *zap.Logger
	mu     sync.Mutex
	told   map[string]bool
}

// keptFields are the fields of an answer of ours that protect it.
var keptFields = []string{
	"Cache-Control", "Content-Security-Policy", "Location", "Referrer-Policy", "Set-Cookie", "Vary", "X-Content-Type-Options",
}

// writeHeader writes the header of an answer of ours and looks whether what was
// set is still there.
func (f *replacedFields) writeHeader(w http.ResponseWriter, status int) {
	header := w.Header()
	set := make([][]string, len(keptFields))
	for i, field := range keptFields {
		set[i] = slices.Clone(header[field])
	}
	w.WriteHeader(status)
	for i, field := range keptFields {
		if slices.ContainsFunc(set[i], func(value string) bool { return !slices.Contains(header[field], value) }) {
			f.tell(field)
		}
	}
}

// checkForwarded looks whether an answer that was forwarded is still marked as
// one person's.
func (f *replacedFields) checkForwarded(header http.Header) {
	// of an answer with 416 Go's file server takes it off, which harms nobody: the
	// answer has nothing in it but the size (RFC 9110 section 14.4)
	if refused := strings.HasPrefix(header.Get("Content-Range"), "bytes */"); !refused && !slices.Contains(header["Cache-Control"], "private") {
		f.tell("Cache-Control")
	}
}

func (f *replacedFields) tell(field string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told[field] {
		return
	}
	if f.told == nil {
		f.told = make(map[string]bool)
	}
	f.told[field] = true
	f.logger.Warn("another handler has replaced a field that protects answers; "+
		"in a header directive write ?"+field+" in the place of "+field+", which sets the field only where it is missing, "+
		"or +"+field+", which adds to it, and do not delete it",
		zap.String("field", field))
}
