package truelayer

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// site serves the requests of one block.
type site struct {
	*failureResponder
	protection protection
	cookies    cookieNames
	accessLog  accessLogWarning
	guard      guard
	login      *loginFlow
	logout     *logout          // nil if the application serves the address
	session    *sessionEndpoint // nil if the application serves the address
	banks      *bankPicker      // nil if the site has none
	consent    *consentPage     // nil if the site has none
	name       *namePage        // nil if the site has none
	connection *connectionPage  // nil if the application serves the address, and those of its buttons
	renewal    *renewal
	disconnect *disconnection
	now        func() time.Time
}

// serve serves a request and counts it.
func (s *site) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	s.accessLog.check(r)
	request := newRequest(r, &s.cookies, s.now())
	err := s.route(w, &request, next)
	if !request.counted {
		if request.isGone() {
			request.outcome = outcomeGone
		}
		s.observer.requestServed(&request, request.outcome)
	}
	return err
}

// route serves a request. It is one of four kinds: for one of the module's endpoints,
// the callback of a login at a wrong path, not protected, or protected.
func (s *site) route(w http.ResponseWriter, q *request, next caddyhttp.Handler) error {
	if s.isEndpoint(q.path()) {
		return s.serveEndpoint(w, q)
	}
	if l := s.login.findMisplaced(q); l != nil {
		return s.login.failMisplaced(w, q, l)
	}
	protected, err := s.protection.covers(q)
	if err != nil {
		s.stripper.strip(q, true) // error routes may proxy the request anywhere
		q.outcome = outcomeFailed
		return err
	}
	if !protected {
		s.stripper.strip(q, false)
		s.observer.requestServed(q, outcomePublic)
		return next.ServeHTTP(w, q.Request)
	}
	return s.guard.serve(w, q, next)
}

// isEndpoint reports whether a path is one of the module's endpoints. It takes the
// path as it arrived, so a rewrite or handle_path in front of the module has no effect.
func (s *site) isEndpoint(path string) bool {
	switch path {
	case s.addresses.callback, s.addresses.login:
		return true
	case s.addresses.logout:
		return s.logout != nil
	case s.addresses.session:
		return s.session != nil
	case s.addresses.banks:
		return s.banks != nil
	case s.addresses.consent:
		return s.consent != nil
	case s.addresses.name:
		return s.name != nil
	case s.addresses.connection, s.addresses.renew, s.addresses.disconnect:
		return s.connection != nil
	}
	return false
}

// serveEndpoint serves one of the module's endpoints.
func (s *site) serveEndpoint(w http.ResponseWriter, q *request) error {
	if p := s.origins.readPreflight(q.Request); p != nil {
		s.preflight(w, q.Request, p)
		return nil
	}
	s.prepare(w, q.Request)
	switch q.path() {
	case s.addresses.callback:
		return s.login.serveCallback(w, q)
	case s.addresses.login:
		return s.login.serveLogin(w, q)
	case s.addresses.logout:
		return s.logout.serve(w, q)
	case s.addresses.banks:
		return s.banks.serve(w, q)
	case s.addresses.consent:
		return s.consent.serve(w, q)
	case s.addresses.name:
		return s.name.serve(w, q)
	case s.addresses.connection:
		return s.connection.serve(w, q)
	case s.addresses.renew:
		return s.renewal.serve(w, q)
	case s.addresses.disconnect:
		return s.disconnect.serve(w, q)
	}
	return s.session.serve(w, q)
}
