package truelayer

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ServeHTTP implements caddyhttp.MiddlewareHandler. A request is one of: the
// callback, the login URL, one that is not protected, one that is.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.warnOfAccessLog(r)
	// the paths are compared with the request as it arrived, so that a rewrite
	// or handle_path before us changes nothing
	switch arrived(r).URL.Path {
	case h.paths.callback:
		return h.serveCallback(w, r)
	case h.paths.login:
		return h.serveLogin(w, r)
	case h.paths.logout:
		if !h.DisableLogout {
			return h.serveLogout(w, r)
		}
	case h.paths.session:
		if h.SessionEndpoint {
			return h.serveSession(w, r)
		}
	}
	protected, err := h.protects(r)
	if err != nil {
		h.takeOff(r, true) // error routes may proxy it anywhere
		return err
	}
	if !protected {
		h.takeOff(r, false)
		return next.ServeHTTP(w, r)
	}
	return h.guard(w, r, next)
}

// guard lets a request through if its visitor has a session, with the access
// token on it, and answers it otherwise.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	t := h.takeOff(r, true)
	if h.isPreflight(r) {
		onlyPreflight(r)
		return next.ServeHTTP(w, r)
	}
	if t == nil {
		return h.admit(w, r)
	}
	now := h.now()
	s, err := h.find(r.Context(), t.cookies, now)
	if err != nil {
		return h.fail(w, r, failure{reason: storeUnavailable, cause: err})
	}
	if s != nil {
		if s, err = h.fresh(r.Context(), s, now); err != nil {
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
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, s *held, t *taken) error {
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
		h.setPlaceholders(repl, t, s)
	}
	if err := next.ServeHTTP(w, r); err != nil {
		// error routes get the same request, and they may proxy it anywhere
		delete(r.Header, field)
		return err
	}
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
	return h.startLogin(w, r, returnTo, "")
}

var errSessionUnknown = errors.New("the browser brought a session that the store does not have: do all instances of this site share a store, and does it keep what it is given?")

// protects asks the matcher about the request as it is and, if an earlier
// handler rewrote it, also as it arrived: either match protects. So does an
// address that an application may read otherwise than the matcher.
func (h *Handler) protects(r *http.Request) (bool, error) {
	match, err := h.match.AnyMatchWithError(r)
	if err != nil || match {
		return match, err
	}
	orig := arrived(r)
	// a request target such as "x:http://host/path" has no path for us, and
	// reverse_proxy sends "http://host/path" on
	if !strings.HasPrefix(orig.URL.Path, "/") || hasDots(orig.URL) || hasDots(r.URL) {
		return true, nil
	}
	if r.Method == orig.Method && *r.URL == *orig.URL {
		return false, nil
	}
	// in place: placeholders in a matcher read the request that Caddy began
	// with, which shares its URL with the one that tracing hands on
	method, target, uri := r.Method, *r.URL, r.RequestURI
	defer func() { r.Method, *r.URL, r.RequestURI = method, target, uri }()
	r.Method, *r.URL, r.RequestURI = orig.Method, *orig.URL, orig.RequestURI
	return h.match.AnyMatchWithError(r)
}

// hasDots reports whether a path has a segment "." or "..". Matchers resolve
// them and not every application does, or an application resolves what the
// matchers do not take for one: "..;x", a backslash for a slash, an escape of
// an escape. Browsers resolve them before they ask.
func hasDots(u *url.URL) bool {
	path := u.Path
	for range 2 {
		for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
			segment, _, _ = strings.Cut(segment, ";")
			if segment == "." || segment == ".." {
				return true
			}
		}
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			return false
		}
		path = decoded
	}
	return false
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

// setPlaceholders sets what the application may know of the connection. The
// values are made when a placeholder is used, and are those of the last block
// that the request went through: of several functions in a replacer the first
// one counts.
func (h *Handler) setPlaceholders(repl *caddy.Replacer, t *taken, s *held) {
	first := t.session == nil
	t.session = s
	if !first {
		return
	}
	repl.Map(func(key string) (any, bool) {
		s := t.session
		switch key {
		case "http.auth.user.id":
			return s.connection, true
		case "http.truelayer.provider":
			return s.provider, true
		case "http.truelayer.scopes":
			return s.scopes, true
		case "http.truelayer.expires_in":
			return secondsUntil(s.tokenExpires, h.now()), true
		case "http.truelayer.consent_expires":
			return s.consentEnds.UTC().Format(time.RFC3339), true
		case "http.truelayer.consent_expires_in":
			return secondsUntil(s.consentEnds, h.now()), true
		}
		return nil, false
	})
}

func secondsUntil(t, now time.Time) int { return max(0, int(t.Sub(now).Seconds())) }

// value is the field's value for a token that stands behind "Bearer ".
func (t *TokenHeader) value(bearer string) string {
	switch t.Scheme {
	case "Bearer":
		return bearer
	case "":
		return bearer[len(bearerPrefix):]
	}
	return t.Scheme + bearer[len(bearerPrefix)-1:]
}
