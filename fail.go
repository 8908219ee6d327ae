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

// failures answers what fails, as a page, as problem details, or as an error for
// the site's own error routes.
type failures struct {
	*responder
	addresses *addresses
	stripper  *stripper
	cookie    string // the session cookie's name
	// asErrors says that the site draws its error pages itself.
	asErrors bool
	logger   *zap.Logger
}

// fail logs a failure and shows it.
func (a *failures) fail(w http.ResponseWriter, q *request, f failure) error {
	p := problems[f.reason]
	if c := a.logger.Check(p.level, f.reason.text().Title); c != nil {
		fields := []zap.Field{
			zap.String("reason", string(f.reason)), zap.Int("status", p.status),
			zap.String("host", cut(q.Host)), zap.String("path", cut(q.path())),
		}
		if f.cause != nil {
			fields = append(fields, zap.Error(f.cause))
		}
		c.Write(fields...)
	}
	if a.returnsErrors(f) && a.carriesCode(q) {
		a.seeOther(w, a.addresses.callback+"?"+failedQuery+string(f.reason))
		return nil
	}
	return a.show(w, q, f)
}

// notAllowed answers a method that is none of those that are allowed.
func (a *failures) notAllowed(w http.ResponseWriter, q *request, allowed string) error {
	w.Header().Set("Allow", allowed)
	return a.fail(w, q, failure{reason: methodNotAllowed})
}

// failedQuery begins the query of a callback's address that has no code or
// state in it, but the reason of the failure that they led to. Caddy's error log
// and a site's error routes get a request with the address that it came with,
// so the visitor is sent there before an error is returned. Anybody can make such
// an address, and gets a fixed text for it.
const failedQuery = "failed="

// failedBefore is the reason in such an address, and whether it is one.
func failedBefore(q *request) (reason, bool) {
	text, found := strings.CutPrefix(q.query(), failedQuery)
	_, known := problems[reason(text)]
	return reason(text), found && known && !comesAgain(reason(text))
}

// comesAgain tells the reasons whose page tries again by itself.
func comesAgain(r reason) bool { return r == tokenUnavailable || r == tooManyLogins }

// carriesCode reports whether the request's address may have a code or a state
// in it.
func (a *failures) carriesCode(q *request) bool {
	_, harmless := failedBefore(q)
	return q.path() == a.addresses.callback && q.query() != "" && !harmless
}

// returnsErrors reports whether a failure becomes a Caddy error. Those whose
// address has a code in it that cannot be taken out do not: the page of a login
// that waits for its turn comes again with it, and the address to which a misplaced
// callback could be redirected is not ours.
func (a *failures) returnsErrors(f failure) bool {
	return a.asErrors && f.reason != tooManyLogins && f.reason != callbackMisplaced
}

// show writes a failure as a page or as problem details, or returns it to Caddy
// if the site draws its errors itself.
func (a *failures) show(w http.ResponseWriter, q *request, f failure) error {
	p, who := problems[f.reason], q.whoAsks()
	f.returnTo = cmp.Or(f.returnTo, "/")
	noStore(w)
	a.prepare(w, q.Request)
	retryAfter := p.retryAfter
	if f.retryAfter > 0 {
		retryAfter = int((f.retryAfter + time.Second - 1) / time.Second)
	}
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		if comesAgain(f.reason) && who == navigation {
			w.Header().Set("Refresh", strconv.Itoa(retryAfter)) // a page that tries again by itself
		}
	}
	if p.status == http.StatusUnauthorized {
		a.challenge(w)
	}
	q.setPlaceholder("http.truelayer.error", string(f.reason))
	if a.returnsErrors(f) && (who != machine || f.reason != loginRequired) {
		state := a.stripper.strip(q, true) // error routes get the request, and they may proxy it anywhere
		if q.replacer != nil && state.session == nil {
			state.identify(q.replacer, nil)
		}
		return caddyhttp.Error(p.status, errors.New(f.reason.text().Title))
	}
	if who == machine {
		return a.writeProblem(w, p, f)
	}
	text := f.reason.text()
	text.Action = cmp.Or(text.Action, f.action)
	return a.page(w, p.status, pages.Page{
		Text: text, Detail: f.detail, Provider: cut(f.provider), Link: a.addresses.loginURL(f.returnTo), Home: a.addresses.origin + "/",
		Reason: string(f.reason), Framed: who == frame,
	})
}

// refuse answers a protected request that has no session and is not a
// navigation.
func (a *failures) refuse(w http.ResponseWriter, q *request, returnTo string) error {
	return a.fail(w, q, failure{reason: loginRequired, returnTo: returnTo})
}

// challenge is the field that RFC 9110 section 15.5.2 wants of a 401. Browsers
// ignore a scheme that they do not know, so no dialog comes up.
func (a *failures) challenge(w http.ResponseWriter) {
	w.Header().Set("Www-Authenticate", fmt.Sprintf("Cookie realm=%q, cookie-name=%q", "bank connection", a.cookie))
}

// writeProblem writes problem details (RFC 9457).
func (a *failures) writeProblem(w http.ResponseWriter, p problem, f failure) error {
	return a.json(w, p.status, "application/problem+json", struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail"`
		Reason   reason `json:"reason"`
		Provider string `json:"provider_error,omitempty"`
		LoginURL string `json:"login_url"`
	}{"about:blank", http.StatusText(p.status), p.status, strings.TrimSpace(f.reason.text().Text + " " + f.detail), f.reason, cut(f.provider), a.addresses.loginURL(f.returnTo)})
}
