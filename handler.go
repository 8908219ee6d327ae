package truelayer

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// site is all that a request may meet in a block.
type site struct {
	*failures
	protection protection
	cookies    cookieNames
	accessLog  accessLogWarning
	guard      guard
	login      *loginFlow
	logout     *logout          // nil if the address is the application's
	session    *sessionEndpoint // nil if the address is the application's
	now        func() time.Time
}

// serve serves a request. It is one of: for an address of ours, the callback of a
// login that came to a wrong address, not protected, protected.
func (s *site) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	s.accessLog.check(r)
	request := newRequest(r, &s.cookies, s.now())
	q := &request
	if s.isOwn(q.path()) {
		return s.serveOwn(w, q)
	}
	if l := s.login.misplaced(q); l != nil {
		return s.login.tellMisplaced(w, q, l)
	}
	protected, err := s.protection.covers(q)
	if err != nil {
		s.stripper.strip(q, true) // error routes may proxy it anywhere
		return err
	}
	if !protected {
		s.stripper.strip(q, false)
		return next.ServeHTTP(w, r)
	}
	return s.guard.serve(w, q, next)
}

// isOwn reports whether a path is the module's. Addresses are compared with the
// request as it arrived, so that a rewrite or handle_path before us changes nothing.
func (s *site) isOwn(path string) bool {
	switch path {
	case s.addresses.callback, s.addresses.login:
		return true
	case s.addresses.logout:
		return s.logout != nil
	case s.addresses.session:
		return s.session != nil
	}
	return false
}

// serveOwn serves an address of ours.
func (s *site) serveOwn(w http.ResponseWriter, q *request) error {
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
	}
	return s.session.serve(w, q)
}
