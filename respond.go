package truelayer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// seeOther redirects with 303, which makes any method a GET and is not cached.
// It writes no body: a link that carries a state has no place in one.
func (h *Handler) seeOther(w http.ResponseWriter, location string) {
	noStore(w)
	w.Header().Set("Location", location)
	h.writeHeader(w, http.StatusSeeOther)
}

// prepare readies an answer of ours for who asks: for a page of an origin that may
// read it, and for a client that waits to be told whether to send its body. Nobody
// will read that, but net/http waits for it unless the connection is to be closed.
func (h *Handler) prepare(w http.ResponseWriter, r *http.Request) {
	h.allowOrigin(w, r)
	if len(r.Header["Expect"]) > 0 && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// noStore marks an answer of ours: no cache keeps it, and no page that it
// leads to learns its address, which on the callback holds the code.
func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	addMissing(w.Header(), "Vary", "Cookie") // for caches that are told to keep it all the same
}

// failure is an answer of ours that is an error.
type failure struct {
	reason reason
	// cause goes into the log and nowhere else.
	cause error
	// detail is a further sentence for the visitor; it is only shown escaped.
	detail string
	// action is a button to the login URL where the reason has none.
	action string
	// provider is what the provider said of it; it is only shown escaped.
	provider string
	// retryAfter is when it may be tried again; 0 is the reason's own time.
	retryAfter time.Duration
	// returnTo is where the login URL on the page leads back to; "" is the start.
	returnTo string
}

// Error implements error.
func (f failure) Error() string {
	if f.cause == nil {
		return string(f.reason)
	}
	return string(f.reason) + ": " + f.cause.Error()
}

// Unwrap implements the interface that errors.Is uses.
func (f failure) Unwrap() error { return f.cause }

// fail logs a failure and shows it.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, f failure) error {
	p := problems[f.reason]
	if c := h.logger.Check(p.level, f.reason.text().Title); c != nil {
		fields := []zap.Field{
			zap.String("reason", string(f.reason)), zap.Int("status", p.status),
			zap.String("host", cut(r.Host)), zap.String("path", cut(arrived(r).URL.Path)),
		}
		if f.cause != nil {
			fields = append(fields, zap.Error(f.cause))
		}
		c.Write(fields...)
	}
	if h.returnsErrors(f) && h.carriesCode(r) {
		h.seeOther(w, h.paths.callback+"?"+failedQuery+string(f.reason))
		return nil
	}
	return h.show(w, r, f)
}

// failedQuery begins the query of a callback's address that has no code or
// state in it, but the reason of the failure that they led to. Caddy's error log
// and a site's error routes get a request with the address that it came with,
// so the visitor is sent there before an error is returned. Anybody can make such
// an address, and gets a fixed text for it.
const failedQuery = "failed="

// failedBefore is the reason in such an address, and whether it is one.
func failedBefore(address *url.URL) (reason, bool) {
	text, found := strings.CutPrefix(address.RawQuery, failedQuery)
	_, known := problems[reason(text)]
	return reason(text), found && known
}

// carriesCode reports whether the request's address may have a code or a state
// in it.
func (h *Handler) carriesCode(r *http.Request) bool {
	address := arrived(r).URL
	_, harmless := failedBefore(address)
	return address.Path == h.paths.callback && address.RawQuery != "" && !harmless
}

// returnsErrors reports whether a failure becomes a Caddy error. Those whose
// address has a code in it that cannot be taken out do not: the page of a login
// that waits for its turn comes again with it, and the address to which a misplaced
// callback could be redirected is not ours.
func (h *Handler) returnsErrors(f failure) bool {
	return h.DisableErrorPages && f.reason != tooManyLogins && f.reason != callbackMisplaced
}

// show writes a failure as a page or as problem+json, or returns it to Caddy
// if the site draws its errors itself.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, f failure) error {
	p, who := problems[f.reason], classify(r)
	if f.returnTo == "" {
		f.returnTo = "/"
	}
	noStore(w)
	h.prepare(w, r)
	retryAfter := p.retryAfter
	if f.retryAfter > 0 {
		retryAfter = int((f.retryAfter + time.Second - 1) / time.Second)
	}
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		if (f.reason == tokenUnavailable || f.reason == tooManyLogins) && who == navigation {
			w.Header().Set("Refresh", strconv.Itoa(retryAfter)) // a page that tries again by itself
		}
	}
	if p.status == http.StatusUnauthorized {
		h.challenge(w)
	}
	setPlaceholder(r, "http.truelayer.error", string(f.reason))
	if h.returnsErrors(f) && (who != machine || f.reason != loginRequired) {
		t := h.strip(r, true) // error routes get the request, and they may proxy it anywhere
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok && t.session == nil {
			t.identify(repl, nil)
		}
		return caddyhttp.Error(p.status, errors.New(f.reason.text().Title))
	}
	if who == machine {
		return h.writeProblem(w, p, f)
	}
	text := f.reason.text()
	text.Action = cmp.Or(text.Action, f.action)
	return h.writePage(w, p.status, pages.Page{
		Text: text, Detail: f.detail, Provider: cut(f.provider), Link: h.loginURL(f.returnTo), Home: h.origin + "/",
		Reason: string(f.reason), Framed: who == frame,
	})
}

// failAs writes an error that holds a failure.
func (h *Handler) failAs(w http.ResponseWriter, r *http.Request, err error) error {
	f, ok := errors.AsType[failure](err)
	if !ok {
		f = failure{reason: storeUnavailable, cause: err}
	}
	return h.fail(w, r, f)
}

// refuse answers a protected request that has no session and is not a
// navigation.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, returnTo string) error {
	return h.fail(w, r, failure{reason: loginRequired, returnTo: returnTo})
}

// challenge is the field that RFC 9110 section 15.5.2 wants of a 401. Browsers
// ignore a scheme that they do not know, so no dialog comes up.
func (h *Handler) challenge(w http.ResponseWriter) {
	w.Header().Set("Www-Authenticate", fmt.Sprintf("Cookie realm=%q, cookie-name=%q", "bank connection", h.cookies.session))
}

// writeProblem writes problem details (RFC 9457).
func (h *Handler) writeProblem(w http.ResponseWriter, p problem, f failure) error {
	body, err := json.Marshal(struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail"`
		Reason   reason `json:"reason"`
		Provider string `json:"provider_error,omitempty"`
		LoginURL string `json:"login_url"`
	}{"about:blank", http.StatusText(p.status), p.status, strings.TrimSpace(f.reason.text().Text + " " + f.detail), f.reason, cut(f.provider), h.loginURL(f.returnTo)})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.writeHeader(w, p.status)
	_, _ = w.Write(body)
	return nil
}

// writePage writes a page for a person.
func (h *Handler) writePage(w http.ResponseWriter, status int, p pages.Page) error {
	body, policy, err := p.Draw()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.writeHeader(w, status)
	_, _ = w.Write(body)
	return nil
}

// cut bounds a text that came from outside, and takes out what would change how
// the text around it is shown.
func cut(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

func setPlaceholder(r *http.Request, name, value string) {
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(name, value)
	}
}
