package truelayer

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ServeHTTP implements caddyhttp.MiddlewareHandler. A request is one of: for an
// address of ours, one that is not protected, one that is.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.warnOfAccessLog(r)
	if serve := h.endpoint(r); serve != nil {
		if method, fields, ok := h.readPreflight(r); ok {
			return h.answerPreflight(w, r, method, fields)
		}
		h.prepare(w, r)
		return serve(w, r)
	}
	if l := h.misplaced(r); l != nil {
		return h.tellMisplaced(w, r, l)
	}
	protected, err := h.protects(r)
	if err != nil {
		h.strip(r, true) // error routes may proxy it anywhere
		return err
	}
	if !protected {
		h.strip(r, false)
		return next.ServeHTTP(w, r)
	}
	return h.guard(w, r, next)
}

// endpoint returns what serves an address of ours, or nil if the address is the
// application's. Addresses are compared with the request as it arrived, so that a
// rewrite or handle_path before us changes nothing.
func (h *Handler) endpoint(r *http.Request) func(http.ResponseWriter, *http.Request) error {
	switch arrived(r).URL.Path {
	case h.paths.callback:
		return h.serveCallback
	case h.paths.login:
		return h.serveLogin
	case h.paths.logout:
		if !h.DisableLogout {
			return h.serveLogout
		}
	case h.paths.session:
		if h.SessionEndpoint {
			return h.serveSession
		}
	}
	return nil
}

// guard lets a request through if its visitor has a session, with the access
// token on it, and answers it otherwise.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	t := h.strip(r, true)
	if method, fields, ok := h.readPreflight(r); ok {
		return h.answerPreflight(w, r, method, fields)
	}
	if !mayBeForwarded(r) {
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		return h.fail(w, r, failure{reason: methodNotAllowed})
	}
	if t.cookies == nil {
		return h.admit(w, r)
	}
	now := h.now()
	s, err := h.find(r.Context(), t.cookies, now)
	if err != nil {
		return h.fail(w, r, failure{reason: storeUnavailable, cause: err})
	}
	if s != nil {
		if s, err = h.withUsableToken(r.Context(), s, now); err != nil {
			return h.failAs(w, r, err)
		}
		now = h.now() // it may have waited
	}
	switch {
	case s == nil:
		return h.admit(w, r)
	case s.over(now):
		return h.tellEnded(w, r, s)
	}
	if err := h.checkOrigin(r); err != nil {
		return h.fail(w, r, failure{reason: crossSite, cause: err})
	}
	return h.forward(w, r, next, s, t)
}

// forward lets a request through with the access token on it.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, s *storedSession, t *requestState) error {
	field := h.tokenHeader.Field
	t.attached = append(t.attached, field)
	// three fields of one value each, without an allocation for each
	values := []string{"Cookie", "private", h.tokenHeader.value(s.bearer.Reveal())}

	// with a cookie in place of the Authorization field no cache would know
	// that the answer is one person's (RFC 9111 section 3.5)
	answer := w.Header()
	addValues(answer, "Vary", values[0:1:1])
	addValues(answer, "Cache-Control", values[1:2:2])

	// in place: a cloned request would lose what Caddy has bound to this one
	r.Header[field] = values[2:3:3]
	dropOption(r.Header, field)
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl != nil {
		t.identify(repl, s)
	}
	if err := next.ServeHTTP(w, r); err != nil {
		// error routes get the same request, and they may proxy it anywhere
		delete(r.Header, field)
		return err
	}
	h.checkForwarded(answer)
	if repl != nil {
		h.noteStatus(repl, s)
	}
	return nil
}

// addValues adds values to a field, without a copy where there are none yet.
func addValues(header http.Header, field string, values []string) {
	if earlier, ok := header[field]; ok {
		values = append(slices.Clip(earlier), values...)
	}
	header[field] = values
}

// admit answers a protected request without a session. Only a person who opens
// a page is sent to the bank.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) error {
	returnTo := h.returnTarget(requestTarget(r))
	if classify(r) != navigation {
		return h.refuse(w, r, returnTo)
	}
	if h.justLoggedIn(r) {
		f := failure{reason: sessionLost, returnTo: returnTo}
		for range h.cookies.secrets(cookieLines(r)) {
			f.reason, f.cause = sessionUnknown, errSessionUnknown
		}
		return h.fail(w, r, f)
	}
	if h.onAnotherHost(r) {
		return h.moveLogin(w, r, returnTo)
	}
	h.prepare(w, r)
	return h.startLogin(w, r, returnTo, "")
}

var errSessionUnknown = errors.New("the browser brought a session that the store does not have: do all instances of this site share a store, and does it keep what it is given?")

// protects reports whether a request is protected. It asks the matcher about the
// request as it is, as it arrived if an earlier handler rewrote it, and as
// applications may read either: any match protects.
func (h *Handler) protects(r *http.Request) (bool, error) {
	match, err := h.match.AnyMatchWithError(r)
	if err != nil || match {
		return match, err
	}
	orig := arrived(r)
	ways, clear := appendReadings(nil, r.Method, r.URL, r.RequestURI)
	if rewritten := r.Method != orig.Method || *r.URL != *orig.URL; rewritten && clear {
		ways = append(ways, reading{orig.Method, *orig.URL, orig.RequestURI})
		ways, clear = appendReadings(ways, orig.Method, orig.URL, orig.RequestURI)
	}
	if !clear || len(ways) == 0 {
		return !clear, nil
	}
	// in place: placeholders in a matcher read the request that Caddy began
	// with, which shares its URL with the one that tracing hands on
	as := func(f reading) { r.Method, *r.URL, r.RequestURI = f.method, f.url, f.target }
	asItIs := reading{r.Method, *r.URL, r.RequestURI}
	defer as(asItIs)
	for _, f := range ways {
		as(f)
		if match, err = h.match.AnyMatchWithError(r); err != nil || match {
			return match, err
		}
	}
	// once more, for what matchers leave in placeholders
	as(asItIs)
	return h.match.AnyMatchWithError(r)
}

// arrived is the request as it was before any handler rewrote it: its method,
// URL and request target only.
func arrived(r *http.Request) http.Request {
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return orig
	}
	return *r
}

// requestTarget is path and query of the request as it arrived.
func requestTarget(r *http.Request) string {
	orig := arrived(r)
	target := orig.URL.EscapedPath()
	if orig.URL.RawQuery != "" {
		target += "?" + orig.URL.RawQuery
	}
	return target
}
