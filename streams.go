package truelayer

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// isStream reports whether the response to a request may last for long: a WebSocket or
// another upgrade, an extended CONNECT (RFC 8441, RFC 9220), or server-sent events.
func isStream(r *http.Request) bool {
	if len(r.Header["Upgrade"]) > 0 || r.Method == http.MethodConnect {
		return true
	}
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(accept, "text/event-stream") {
			return true
		}
	}
	return false
}

// stream is a request that was let through and lasts. It ends with its session, by read
// and write deadlines that have passed: they end the connection of an HTTP/1.1 request,
// and the stream of another. HTTP/3 looks at a deadline when something is read or written,
// so there a stream on which nothing happens ends with its next event, which it does not
// deliver.
//
// Neither the response writer nor the request is wrapped, since that would break what
// other handlers do with them. Caddy's idle timeouts replace a deadline before each read
// and write, so they are given this stream in place of their own way to set deadlines.
type stream struct {
	http.ResponseWriter // nil; http.NewResponseController wants one

	connection *http.ResponseController
	mu         sync.Mutex
	ended      bool
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// serveStream calls next, and ends the stream with its session.
func serveStream(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, sessions *session.Manager, s *session.Session) error {
	this := &stream{connection: http.NewResponseController(innermost(w))}
	reader, writer := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if reader != nil {
		defer func(earlier *http.ResponseController) { reader.Ctrl = earlier }(reader.Ctrl)
		reader.Ctrl = http.NewResponseController(this)
	}
	if writer != nil {
		defer func(earlier *http.ResponseController) { writer.Ctrl = earlier }(writer.Ctrl)
		writer.Ctrl = http.NewResponseController(this)
	}
	defer sessions.Watch(s, this.end)()
	return next.ServeHTTP(w, r)
}

// innermost returns the writer that all others wrap: that of the connection. Its deadlines
// may be set while another goroutine writes; those of the others may not.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// end ends the stream.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	_ = s.connection.SetReadDeadline(longAgo)
	_ = s.connection.SetWriteDeadline(longAgo)
}

// SetReadDeadline is called by http.ResponseController.
func (s *stream) SetReadDeadline(deadline time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		deadline = longAgo
	}
	return s.connection.SetReadDeadline(deadline)
}

// SetWriteDeadline is called by http.ResponseController.
func (s *stream) SetWriteDeadline(deadline time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		deadline = longAgo
	}
	return s.connection.SetWriteDeadline(deadline)
}
