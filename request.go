package truelayer

import (
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// request is an HTTP request together with the facts that many handlers need. They are
// determined when the request arrives, except the audience, which is determined when
// it is first needed.
type request struct {
	*http.Request

	original originalRequest
	// replacer is nil outside of Caddy.
	replacer *caddy.Replacer
	// state is what earlier blocks have done to the request, nil if there were none.
	state *requestState
	// cookies are the request's Cookie lines as they arrived.
	cookies []string
	// ownCookies is what cookies has in the module's cookies.
	ownCookies ownCookies
	// now is when the request arrived at this block.
	now time.Time

	audience audience // unknown until whoAsks is called
}

// originalRequest is a request as it arrived, before any handler rewrote it.
type originalRequest struct {
	method string
	url    *url.URL
	target string
}

// requestState is what the blocks of this directive have done to a request. It is for
// the later blocks of the same site.
type requestState struct {
	// cookies are the Cookie lines as they arrived, nil if no block has changed them.
	cookies []string
	// tokenFields are the header fields in which blocks have put their tokens.
	tokenFields []string
	// session is the session that the last block found, nil if there is none.
	session *session.Session
}

// String keeps the cookies out of logs, since it may be printed with the request's
// variables.
func (*requestState) String() string { return "[redacted]" }

const requestStateVar = "truelayer"

// newRequest returns r with the facts about it.
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
	q.ownCookies = names.find(q.cookies)
	return q
}

// ensureState returns the state of a request and creates it if there is none. It
// reports whether it was created.
func (q *request) ensureState() (state *requestState, first bool) {
	if q.state == nil {
		q.state, first = new(requestState), true
		caddyhttp.SetVar(q.Context(), requestStateVar, q.state)
	}
	return q.state, first
}

// whoAsks returns the audience of the response.
func (q *request) whoAsks() audience {
	if q.audience == unknown {
		q.audience = classify(q.Request)
	}
	return q.audience
}

// path returns the decoded path of the request as it arrived.
func (q *request) path() string { return q.original.url.Path }

// query returns the query of the request as it arrived.
func (q *request) query() string { return q.original.url.RawQuery }

// target returns the path and the query of the request as it arrived.
func (q *request) target() string {
	target := q.original.url.EscapedPath()
	if query := q.query(); query != "" {
		target += "?" + query
	}
	return target
}

// id returns Caddy's id of the request, {http.request.uuid}, "" outside of Caddy.
func (q *request) id() string {
	if q.replacer == nil {
		return ""
	}
	id, _ := q.replacer.GetString("http.request.uuid")
	return id
}

// log writes what has happened to a visitor's connection.
func (q *request) log(logger *zap.Logger, message, connection, provider string) {
	logger.Info(message, zap.String("connection", connection), zap.String("provider", provider),
		zap.String("host", sanitize(q.Host)), zap.String("client_ip", clientIP(q.Request)), zap.String("request_id", q.id()))
}

// setPlaceholder sets a placeholder for the handlers and error routes that follow.
func (q *request) setPlaceholder(name, value string) {
	if q.replacer != nil {
		q.replacer.Set(name, value)
	}
}
