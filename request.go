package truelayer

import (
	"net/http"
	"net/url"
	"time"

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

	// outcome is what becomes of the request, and reason why it is a failure, "" if it is
	// none. counted says that the outcome is counted already.
	outcome outcome
	reason  reason
	counted bool
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
	// signedIn is the user id that an earlier handler has set, "" if none has.
	signedIn string
	// verification is what that block knows of the visitor's name, nil if it verifies none.
	verification *verification
	// connection says where the visitor manages the connection, as that block has it.
	connection *connectionLinks
	// block answers for that block.
	block answerer
	// refused says that truelayer_require has answered the request behind that block.
	refused bool
	// traced says that a block has added to the request's span what became of it.
	traced bool
}

// answerer answers requests for a block.
type answerer interface {
	// refuseSession answers a request whose session is not enough, for a rule of
	// truelayer_require. received is what came in place of what is required.
	refuseSession(w http.ResponseWriter, q *request, why reason, received, rule string) error
}

// String keeps the cookies out of logs, since it may be printed with the request's
// variables.
func (*requestState) String() string { return "[redacted]" }

const requestStateVar = "truelayer"

// newRequest returns r with the facts about it.
func newRequest(r *http.Request, names *cookieNames, now time.Time) request {
	ctx := r.Context()
	q := request{Request: r, cookies: r.Header["Cookie"], now: now, outcome: outcomeAnswered}
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

// sendsForm reports whether a person sends a form, also one in a frame.
func (q *request) sendsForm() bool {
	who := q.whoAsks()
	return who == form || who == frame && q.Method == http.MethodPost
}

// path returns the decoded path of the request as it arrived.
func (q *request) path() string { return q.original.url.Path }

// query returns the query of the request as it arrived.
func (q *request) query() string { return q.original.url.RawQuery }

// parameters returns the parameters in that query, without those that cannot be read.
func (q *request) parameters() url.Values {
	values, _ := url.ParseQuery(q.query())
	return values
}

// target returns the path and the query of the request as it arrived.
func (q *request) target() string {
	target := q.original.url.EscapedPath()
	if query := q.query(); query != "" {
		target += "?" + query
	}
	return target
}

// id returns the id by which logs, traces and pages name the request: that of its trace
// if Caddy's tracing directive is in use, or else {http.request.uuid}. Outside of Caddy
// it is "".
func (q *request) id() string {
	if trace, ok := caddyhttp.GetVar(q.Context(), "trace_id").(string); ok && trace != "" {
		return trace
	}
	if q.replacer == nil {
		return ""
	}
	id, _ := q.replacer.GetString("http.request.uuid")
	return id
}

// isGone reports whether the client has closed the connection, or its stream.
func (q *request) isGone() bool { return q.Context().Err() != nil }

// setPlaceholder sets a placeholder for the handlers and error routes that follow.
func (q *request) setPlaceholder(name, value string) {
	if q.replacer != nil {
		q.replacer.Set(name, value)
	}
}
