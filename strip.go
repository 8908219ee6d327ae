package truelayer

import (
	"slices"
	"strings"
	"time"
)

// stripper takes off a request what belongs to the module alone.
type stripper struct {
	cookies *cookieNames
	field   string // the one that carries the access token
	now     func() time.Time
}

// strip takes the module's cookies off the request, and the client's token
// header where it must not reach the application: everywhere if it is a field
// of the operator's choice, on protected requests if it is Authorization.
func (s *stripper) strip(q *request, protected bool) *requestState {
	state, first := q.remember()
	if first {
		setPlaceholders(q.replacer, state, s.now)
	}
	if q.own.any && state.cookies == nil {
		state.cookies = q.cookies
	}
	if q.own.any {
		s.cookies.strip(q.Header)
	}
	// what a template includes (httpInclude) is asked for with the page's own
	// fields, our token among them
	included := len(q.Header["Caddy-Templates-Include"]) > 0
	if protected || included || (s.field != "Authorization" && !slices.Contains(state.attached, s.field)) {
		delete(q.Header, s.field)
		dropTrailer(q.Request, s.field)
	}
	if strings.Contains(strings.ToLower(strings.Join(q.Header["Upgrade"], ",")), "h2c") {
		// what follows a change to HTTP/2 would go past us; RFC 9113 section
		// 3.1 has made it obsolete, and any upgrade may be ignored
		delete(q.Header, "Upgrade")
		delete(q.Header, "Http2-Settings")
	}
	return state
}
