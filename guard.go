package truelayer

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// guard lets the requests of visitors with a session through, with the access
// token on them, and answers the others.
type guard struct {
	*failures
	login    *loginFlow
	sessions *session.Manager
	header   TokenHeader
	now      func() time.Time
}

// serve guards a protected request.
func (g *guard) serve(w http.ResponseWriter, q *request, next caddyhttp.Handler) error {
	state := g.stripper.strip(q, true)
	if p := g.origins.readPreflight(q.Request); p != nil {
		g.preflight(w, q.Request, p)
		return nil
	}
	if !mayBeForwarded(q.Request) {
		return g.notAllowed(w, q, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	s, now, err := g.find(q)
	switch {
	case err != nil:
		return g.fail(w, q, failureOf(err))
	case s == nil:
		return g.login.admit(w, q)
	case s.IsOver(now):
		return g.login.tellOver(w, q, s)
	}
	if err := g.origins.admit(q.Request); err != nil {
		return g.fail(w, q, failure{reason: crossSite, cause: err})
	}
	return g.forward(w, q, next, s, state)
}

// find returns the visitor's session with a token that can be sent, and the time
// now, since it may have waited for that.
func (g *guard) find(q *request) (*session.Session, time.Time, error) {
	secrets := q.own.sessions()
	if len(secrets) == 0 {
		return nil, q.now, nil
	}
	s, err := g.sessions.Find(q.Context(), secrets, q.now)
	if s == nil || err != nil {
		return nil, q.now, err
	}
	s, err = g.sessions.WithUsableToken(q.Context(), s, q.now)
	return s, g.now(), err
}

// forward lets a request through with the access token on it.
func (g *guard) forward(w http.ResponseWriter, q *request, next caddyhttp.Handler, s *session.Session, state *requestState) error {
	field := g.header.Field
	state.attached = append(state.attached, field)
	// three fields of one value each, without an allocation for each
	values := []string{"Cookie", "private", g.header.value(s.Bearer())}

	// with a cookie in place of the Authorization field no cache would know
	// that the answer is one person's (RFC 9111 section 3.5)
	answer := w.Header()
	addValues(answer, "Vary", values[0:1:1])
	addValues(answer, "Cache-Control", values[1:2:2])

	// in place: a cloned request would lose what Caddy has bound to this one
	q.Header[field] = values[2:3:3]
	dropOption(q.Header, field)
	if q.replacer != nil {
		state.identify(q.replacer, s)
	}
	if err := next.ServeHTTP(w, q.Request); err != nil {
		// error routes get the same request, and they may proxy it anywhere
		delete(q.Header, field)
		return err
	}
	g.fields.checkForwarded(answer)
	if q.replacer != nil {
		// a 401 goes to the client as it is
		if status, ok := q.replacer.Get("http.reverse_proxy.status_code"); ok && status == http.StatusUnauthorized {
			g.sessions.NoteRejected(s)
		}
	}
	return nil
}

// addValues adds values to a field, without a copy where there are none yet.
func addValues(header http.Header, field string, values []string) {
	if earlier, ok := header[field]; ok {
		values = append(slices.Clip(earlier), values...)
	}
	header[field] = values
}
