package truelayer

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// requestState is what the blocks of this directive have done to a request, for the
// blocks that come after them in the same site.
type requestState struct {
	// cookies are the Cookie lines as they arrived.
	cookies []string
	// attached are the fields in which blocks have put their tokens.
	attached []string
	// session is the one that the last block has found, nil if none has.
	session *storedSession
}

// String keeps cookies out of whatever prints the request's variables.
func (*requestState) String() string { return "[redacted]" }

const requestStateVar = "truelayer"

// requestStateOf returns what blocks have done to the request, nil if it has met none.
func requestStateOf(r *http.Request) *requestState {
	t, _ := caddyhttp.GetVar(r.Context(), requestStateVar).(*requestState)
	return t
}

// strip takes the handler's cookies off the request, and the client's token
// header where it must not reach the application: everywhere if it is a field
// of the operator's choice, on protected requests if it is Authorization. The
// result has no cookies if neither this nor an earlier block has found one.
func (h *Handler) strip(r *http.Request, protected bool) *requestState {
	t, lines := requestStateOf(r), r.Header["Cookie"]
	if t == nil {
		t = new(requestState)
		caddyhttp.SetVar(r.Context(), requestStateVar, t)
		h.setPlaceholders(r, t)
	}
	if h.cookies.stripCookies(r.Header) && t.cookies == nil {
		t.cookies = lines
	}
	field := h.tokenHeader.Field
	// what a template includes (httpInclude) is asked for with the page's own
	// fields, our token among them
	included := len(r.Header["Caddy-Templates-Include"]) > 0
	if protected || included || (field != "Authorization" && !slices.Contains(t.attached, field)) {
		delete(r.Header, field)
		dropTrailer(r, field)
	}
	if strings.Contains(strings.ToLower(strings.Join(r.Header["Upgrade"], ",")), "h2c") {
		// what follows a change to HTTP/2 would go past us; RFC 9113 section
		// 3.1 has made it obsolete, and any upgrade may be ignored
		delete(r.Header, "Upgrade")
		delete(r.Header, "Http2-Settings")
	}
	return t
}

// cookieLines are the request's Cookie lines as they arrived.
func cookieLines(r *http.Request) []string {
	if t := requestStateOf(r); t != nil && t.cookies != nil {
		return t.cookies
	}
	return r.Header["Cookie"]
}
