package truelayer

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// headerChecker warns if other handlers replace header fields that protect a response,
// once for each field. A deferred `header` directive, such as every one with a deletion
// in its block, changes a response after this module has written it.
type headerChecker struct {
	logger *zap.Logger
	mu     sync.Mutex
	warned map[string]bool
}

// protectiveFields are the header fields that protect the module's own responses.
var protectiveFields = []string{
	"Cache-Control", "Content-Security-Policy", "Location", "Referrer-Policy", "Set-Cookie", "Vary", "X-Content-Type-Options",
}

// writeHeader writes the header of one of the module's own responses and checks that
// its protective fields are unchanged.
func (f *headerChecker) writeHeader(w http.ResponseWriter, status int) {
	header := w.Header()
	set := make([][]string, len(protectiveFields))
	for i, field := range protectiveFields {
		set[i] = slices.Clone(header[field])
	}
	w.WriteHeader(status)
	for i, field := range protectiveFields {
		if slices.ContainsFunc(set[i], func(value string) bool { return !slices.Contains(header[field], value) }) {
			f.warn(field)
		}
	}
}

// checkForwarded checks that the response to a forwarded request is still marked as
// private.
func (f *headerChecker) checkForwarded(header http.Header) {
	// Go's file server removes Cache-Control from a 416. That is harmless, since the
	// response tells nothing but the size of the file (RFC 9110 section 14.4)
	if unsatisfied := strings.HasPrefix(header.Get("Content-Range"), "bytes */"); !unsatisfied && !slices.Contains(header["Cache-Control"], "private") {
		f.warn("Cache-Control")
	}
}

func (f *headerChecker) warn(field string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.warned[field] {
		return
	}
	if f.warned == nil {
		f.warned = make(map[string]bool)
	}
	f.warned[field] = true
	f.logger.Warn("another handler has replaced a header field that protects responses; "+
		"in a header directive, write ?"+field+" instead of "+field+" to set the field only if it is missing, "+
		"or +"+field+" to add to it, and do not delete it",
		zap.String("field", field))
}
