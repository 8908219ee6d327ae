package truelayer

import (
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// request is a request with what is asked of it again and again on its way. All of
// it is found when the request comes, the audience when it is first asked for.
type request struct {
	*http.Request

	original originalRequest
	// replacer is nil outside of Caddy.
	replacer *caddy.Replacer
	// state is what earlier blocks have done to the request, nil if it has met none.
	state *requestState
	// cookies are its Cookie lines, as they arrived, and what there is of ours in them.
	cookies []string
	own     ownCookies
	// now is when it came to this block.
	now time.Time

	audience audience // unknown until whoAsks is called
}

// originalRequest is a request as it arrived, before any handler rewrote it.
type originalRequest struct {
	method string
	url    *url.URL
	target string
}

// requestState is what the blocks of this directive have done to a request, for the
// blocks that come after them in the same site.
type requestState struct {
	// cookies are the Cookie lines as they arrived, nil if no block has changed them.
	cookies []string
	// attached are the fields in which blocks have put their tokens.
	attached []string
	// session is the one that the last block has found, nil if none has.
	session *session.Session
}

// String keeps cookies out of whatever prints the request's variables.
func (*requestState) String() string { return "[redacted]" }

const requestStateVar = "truelayer"

// newRequest finds out what a request is.
func newRequest(r *http.Request, names *cookieNames, now time.Time) request {
	ctx := r.Context()
	q := request{Request: r, cookies: r.Header["Cookie"], now: now}
	q.replacer, _ = ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		q.original = originalRequest{original.Method, original.URL, original.RequestURI}
	} else {
		q.original = originalRequest{r.Method, r.URL, r.RequestURI}
	}
	if q.state, _ = caddyhttp.GetVar(ctx, requestStateVar).(*requestState); q.state != nil && q.state.cookies != nil {
		q.cookies = q.state.cookies
	}
	q.own = names.find(q.cookies)
	return q
}

// remember returns the state of a request, which this block is about to change.
// It reports whether no block has done so before.
func (q *request) remember() (state *requestState, first bool) {
	if q.state == nil {
		q.state, first = new(requestState), true
		caddyhttp.SetVar(q.Context(), requestStateVar, q.state)
	}
	return q.state, first
}

// whoAsks returns who waits for the answer.
func (q *request) whoAsks() audience {
	if q.audience == unknown {
		q.audience = classify(q.Request)
	}
	return q.audience
}

// path is the path of the request as it arrived, decoded.
func (q *request) path() string { return q.original.url.Path }

// query is the query of the request as it arrived.
func (q *request) query() string { return q.original.url.RawQuery }

// target is path and query of the request as it arrived.
func (q *request) target() string {
	target := q.original.url.EscapedPath()
	if query := q.query(); query != "" {
		target += "?" + query
	}
	return target
}

// setPlaceholder sets a placeholder for the handlers and error routes that follow.
func (q *request) setPlaceholder(name, value string) {
	if q.replacer != nil {
		q.replacer.Set(name, value)
	}
}
