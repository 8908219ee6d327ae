package truelayer

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// failureResponder answers requests that fail: with a page, with problem details, or
// with an error for the site's own error routes.
type failureResponder struct {
	*responder
	addresses *addresses
	stripper  *stripper
	cookie    string // the session cookie's name
	home      string // the start of the site, "" if it is protected and leads to a bank
	signOut   string // where one signs out, "" if the application serves the address
	// disablePages says that the site draws its error pages itself.
	disablePages bool
	logger       *zap.Logger
}

// note logs a failure.
func (a *failureResponder) note(q *request, f failure) {
	p := problems[f.reason]
	level := p.level
	if q.isGone() { // whatever did not answer in time had less than its time
		level = zap.DebugLevel
	}
	if c := a.logger.Check(level, p.message); c != nil {
		c.Write(f.fields(q, p.status)...)
	}
}

// fail logs a failure and answers the request with it.
func (a *failureResponder) fail(w http.ResponseWriter, q *request, f failure) error {
	a.note(q, f)
	if a.returnsErrors(f) && a.carriesCode(q) {
		a.seeOther(w, q, a.addresses.callback+"?"+failedQuery+string(f.reason))
		q.fails(f.reason)
		return nil
	}
	return a.show(w, q, f)
}

// fails notes that a request fails.
func (q *request) fails(r reason) {
	q.reason, q.outcome = r, outcomeRefused
	if problems[r].status >= http.StatusInternalServerError {
		q.outcome = outcomeFailed
	}
}

// fields are what the log says of a failure. What comes from outside is bounded.
func (f failure) fields(q *request, status int) []zap.Field {
	fields := []zap.Field{
		zap.String("reason", string(f.reason)), zap.Int("status", status),
		zap.String("method", sanitize(q.Method)), zap.String("host", sanitize(q.Host)), zap.String("path", sanitize(q.path())),
		zap.String("client_ip", clientIP(q.Request)), zap.String("request_id", q.id()),
	}
	if f.cause != nil {
		fields = append(fields, zap.Error(f.cause))
	}
	if f.provider != "" {
		fields = append(fields, zap.String("provider_error", sanitize(f.provider)))
	}
	if f.received != "" {
		fields = append(fields, zap.String("received", sanitize(f.received)))
	}
	return fields
}

// notAllowed answers a request whose method is not one of the allowed ones.
func (a *failureResponder) notAllowed(w http.ResponseWriter, q *request, allowed string) error {
	w.Header().Set("Allow", allowed)
	return a.fail(w, q, failure{reason: methodNotAllowed})
}

// failedQuery begins the query of a callback address that has the reason of a failure
// in place of the code and the state. Caddy's error log and the site's error routes see
// the address of the request, so the visitor is redirected to this one before an error
// is returned. Anybody can make up such an address, and gets only a fixed text.
const failedQuery = "failed="

// failedReason returns the reason in the address that failedQuery describes, and
// whether q has such an address.
func failedReason(q *request) (reason, bool) {
	text, found := strings.CutPrefix(q.query(), failedQuery)
	_, known := problems[reason(text)]
	return reason(text), found && known
}

// pageRetries reports whether the page for a reason reloads itself. At an address that
// failedQuery describes it would show the same failure for ever.
func pageRetries(q *request, r reason) bool {
	_, again := failedReason(q)
	return !again && (r == tokenUnavailable || r == tooManyLogins || r == storeUnavailable || r == verificationUnavailable)
}

// carriesCode reports whether the request's address may contain a code or a state.
func (a *failureResponder) carriesCode(q *request) bool {
	_, harmless := failedReason(q)
	return q.path() == a.addresses.callback && q.query() != "" && !harmless
}

// returnsErrors reports whether a failure becomes a Caddy error. Two reasons never do,
// because the code has to stay in the address: the page of a login that waits for its
// turn reloads with the code, and a callback at a wrong path cannot be redirected,
// since that path belongs to the application.
func (a *failureResponder) returnsErrors(f failure) bool {
	return a.disablePages && f.reason != tooManyLogins && f.reason != callbackMisplaced
}

// show writes a failure as a page or as problem details, or returns it to Caddy if the
// site draws its error pages itself.
func (a *failureResponder) show(w http.ResponseWriter, q *request, f failure) error {
	p, who := problems[f.reason], q.whoAsks()
	f.returnTo = cmp.Or(f.returnTo, "/")
	a.announce(w, q, f)
	if a.returnsErrors(f) && (who != machine || f.reason != loginRequired) {
		state := a.stripper.strip(q, true) // error routes may proxy the request anywhere
		if q.replacer != nil && state.session == nil {
			state.identify(q.replacer, nil)
		}
		return caddyhttp.Error(p.status, errors.New(f.reason.text().Title))
	}
	if who == machine {
		return a.writeProblem(w, q, p, f)
	}
	page := &pages.Message{
		Key: string(f.reason), Provider: sanitize(f.provider), Link: a.loginURL(f), Action: f.action, Home: a.home,
		Retries: who == navigation && pageRetries(q, f.reason), Details: f.details, Support: support(q, f), NewTab: f.newTab, Framed: who == frame,
	}
	if f.elsewhere {
		page.Link = f.link
	}
	return a.draw(w, q, p.status, page)
}

// support is what a visitor can tell the people who run the site.
func support(q *request, f failure) pages.Support {
	return pages.Support{Reason: string(f.reason), RequestID: q.id(), Time: q.now}
}

// loginURL returns where a visitor can log in after a failure.
func (a *failureResponder) loginURL(f failure) string {
	return cmp.Or(f.loginURL, a.addresses.loginURL(f.returnTo))
}

// announce notes that a request fails, and sets the header fields of the answer.
func (a *failureResponder) announce(w http.ResponseWriter, q *request, f failure) {
	p := problems[f.reason]
	q.fails(f.reason)
	noStore(w)
	a.prepare(w, q.Request)
	retryAfter := p.retryAfter
	if f.retryAfter > 0 {
		retryAfter = int((f.retryAfter + time.Second - 1) / time.Second)
	}
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		if pageRetries(q, f.reason) && q.whoAsks() == navigation {
			w.Header().Set("Refresh", strconv.Itoa(retryAfter)) // the page reloads itself
		}
	}
	if p.status == http.StatusUnauthorized {
		a.challenge(w)
	}
	q.setPlaceholder("http.truelayer.error", string(f.reason))
}

// refuse answers a request that has no session and is not a navigation.
func (a *failureResponder) refuse(w http.ResponseWriter, q *request, returnTo string) error {
	return a.fail(w, q, failure{reason: loginRequired, returnTo: returnTo})
}

// challenge sets the field that RFC 9110 section 15.5.2 requires of a 401. Browsers
// ignore an unknown scheme, so they show no login dialog.
func (a *failureResponder) challenge(w http.ResponseWriter) {
	w.Header().Set("Www-Authenticate", fmt.Sprintf("Cookie realm=%q, cookie-name=%q", "bank connection", a.cookie))
}

// writeProblem writes problem details (RFC 9457).
func (a *failureResponder) writeProblem(w http.ResponseWriter, q *request, p problem, f failure) error {
	return a.json(w, p.status, "application/problem+json", struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		Reason    reason `json:"reason"`
		Provider  string `json:"provider_error,omitempty"`
		LoginURL  string `json:"login_url"`
		RequestID string `json:"request_id,omitempty"`
	}{
		"about:blank", http.StatusText(p.status), p.status, f.reason.sentences(f.details), f.reason,
		sanitize(f.provider), a.loginURL(f), q.id(),
	})
}
