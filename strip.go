package truelayer

import (
	"slices"
	"strings"
	"time"
)

// stripper removes from requests what must not reach the application.
type stripper struct {
	cookies *cookieNames
	field   string // the header field that carries the access token
	now     func() time.Time
}

// strip removes the module's cookies from the request. It also removes the client's own
// token header where that must not reach the application: from every request if the
// operator chose the field, from protected requests if it is Authorization.
func (s *stripper) strip(q *request, protected bool) *requestState {
	state, first := q.ensureState()
	if first {
		setPlaceholders(q.replacer, state, s.now)
	}
	if q.ownCookies.any && state.cookies == nil {
		state.cookies = q.cookies
	}
	if q.ownCookies.any {
		s.cookies.strip(q.Header)
	}
	// a template's httpInclude makes a request with the header fields of the page's
	// request, which include the access token
	included := len(q.Header["Caddy-Templates-Include"]) > 0
	if protected || included || (s.field != "Authorization" && !slices.Contains(state.tokenFields, s.field)) {
		delete(q.Header, s.field)
		dropTrailer(q.Request, s.field)
	}
	if strings.Contains(strings.ToLower(strings.Join(q.Header["Upgrade"], ",")), "h2c") {
		// requests after an upgrade to HTTP/2 would bypass the module; RFC 9113
		// section 3.1 makes this upgrade obsolete, and a server may ignore any
		delete(q.Header, "Upgrade")
		delete(q.Header, "Http2-Settings")
	}
	return state
}
