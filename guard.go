package truelayer

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// guard forwards the requests of visitors who have a session, with the access token
// attached. It answers all others itself.
type guard struct {
	*failureResponder
	login    *loginFlow
	sessions *session.Manager
	names    *nameVerifier // nil if the block verifies no names
	links    *connectionLinks
	header   TokenHeader
	now      func() time.Time
}

// serve serves a protected request.
func (g *guard) serve(w http.ResponseWriter, q *request, next caddyhttp.Handler) error {
	name := g.names.claimed(q)
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
	case session.IsRevoked(err):
		return g.login.revoked(w, q)
	case err != nil:
		return g.fail(w, q, failureOf(err))
	case s == nil:
		return g.login.requireLogin(w, q)
	case s.IsOver(now):
		return g.login.reconnect(w, q, s)
	}
	if err := g.origins.check(q.Request); err != nil {
		return g.fail(w, q, foreignRequest(q, err))
	}
	state.verification, state.connection, state.block = g.names.verify(q, s, name), g.links, g.login
	if q.isGone() {
		return nil // it did not wait for the bank's word
	}
	return g.forward(w, q, next, s, state)
}

// find returns the visitor's session with a usable token. It also returns the current
// time, since it may have waited for a refresh.
func (g *guard) find(q *request) (*session.Session, time.Time, error) {
	secrets := q.ownCookies.sessionSecrets()
	if len(secrets) == 0 {
		return nil, q.now, nil
	}
	s, err := g.sessions.Find(q.Context(), secrets, q.now)
	if s == nil || err != nil || !g.sessions.NeedsRefresh(s, q.now) {
		return s, q.now, err
	}
	s, err = g.sessions.WithUsableToken(q.withCause(), s, q.now)
	return s, g.now(), err
}

// forward attaches the access token to a request and calls the next handler.
func (g *guard) forward(w http.ResponseWriter, q *request, next caddyhttp.Handler, s *session.Session, state *requestState) error {
	field := g.header.Field
	state.tokenFields = append(state.tokenFields, field)
	// one allocation for the values of three fields
	values := []string{"Cookie", "private", g.header.value(s.Bearer())}

	// the request came with a cookie, not with an Authorization field, so a cache
	// cannot tell that the response is private (RFC 9111 section 3.5)
	answer := w.Header()
	addValues(answer, "Vary", values[0:1:1])
	addValues(answer, "Cache-Control", values[1:2:2])

	// change the request itself: a clone would lose what Caddy has bound to it
	q.Header[field] = values[2:3:3]
	dropOption(q.Header, field)
	if q.replacer != nil {
		state.identify(q.replacer, s)
	}
	g.observer.requestServed(q, outcomeForwarded)
	if err := g.pass(w, q, next, s); err != nil {
		// error routes may proxy the request anywhere
		delete(q.Header, field)
		return err
	}
	if !state.refused { // the module's own answers are more than private
		g.headers.checkForwarded(answer)
	}
	if q.replacer != nil {
		// the client gets the 401 as it is
		if status, ok := q.replacer.Get("http.reverse_proxy.status_code"); ok && status == http.StatusUnauthorized {
			g.sessions.NoteRejected(s)
		}
	}
	return nil
}

// pass calls the next handler.
func (g *guard) pass(w http.ResponseWriter, q *request, next caddyhttp.Handler, s *session.Session) error {
	if isStream(q.Request) {
		return serveStream(w, q.Request, next, g.sessions, s)
	}
	return next.ServeHTTP(w, q.Request)
}

// addValues adds values to a field. It keeps the slice itself if the field is empty.
func addValues(header http.Header, field string, values []string) {
	if earlier, ok := header[field]; ok {
		values = append(slices.Clip(earlier), values...)
	}
	header[field] = values
}
