package truelayer

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxCallbackQuery = 8 << 10
	maxCode          = 1 << 10
	// lostSession is for how long after a login a navigation without its
	// session is answered with a page instead of another trip to the bank.
	lostSession = time.Minute
)

// authorizationResponse is what the auth server sends back through the
// browser (RFC 6749 section 4.1.2): a code, or an error.
type authorizationResponse struct {
	code, state, err, description, issuer string
}

// readAuthorizationResponse parses a callback's query. A parameter given twice
// is refused (RFC 6749 section 3.1): two readers would pick different ones.
func readAuthorizationResponse(query string) (authorizationResponse, bool) {
	if len(query) > maxCallbackQuery {
		return authorizationResponse{}, false
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return authorizationResponse{}, false
	}
	for _, name := range []string{"code", "state", "error", "error_description", "iss"} {
		if len(values[name]) > 1 {
			return authorizationResponse{}, false
		}
	}
	a := authorizationResponse{
		code:        values.Get("code"),
		state:       values.Get("state"),
		err:         values.Get("error"),
		description: values.Get("error_description"),
		issuer:      values.Get("iss"),
	}
	valid := (a.code == "") != (a.err == "") && len(a.code) <= maxCode && len(a.state) <= maxCode
	for i := range len(a.code) {
		valid = valid && a.code[i] > 0x20 && a.code[i] <= 0x7e
	}
	return a, valid
}

// serveCallback is the redirect URI. All that can be checked here is checked
// before anything is sent to the auth server.
func (h *Handler) serveCallback(w http.ResponseWriter, r *http.Request) error {
	noStore(w)
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		return h.fail(w, r, failure{reason: methodNotAllowed})
	}
	if reason, ok := failedBefore(arrived(r).URL); ok && h.DisableErrorPages {
		return h.show(w, r, failure{reason: reason})
	}
	response, ok := readAuthorizationResponse(arrived(r).URL.RawQuery)
	if !ok {
		return h.fail(w, r, failure{reason: callbackMalformed})
	}
	if response.issuer != "" && response.issuer != h.Issuer {
		// two auth servers, one of which hands a visitor on to the other's
		// client (RFC 9207 section 2.4); it is checked when it comes
		return h.fail(w, r, failure{reason: issuerMismatch})
	}
	l := h.findLogin(r, response.state)
	if response.err != "" {
		return h.declined(w, r, response, l)
	}
	switch {
	case l == nil:
		return h.orphan(w, r, loginLost, "/")
	case l.done:
		h.seeOther(w, h.returnTarget(l.returnTo))
		return nil
	case h.now().Sub(l.started) > loginLifetime:
		return h.orphan(w, r, loginExpired, l.returnTo)
	}
	network := clientNetwork(r)
	session, err := h.auth.exchangeOnce(r.Context(), h.claimID(l.state), network, h.now(), func(ctx context.Context) (*landing, error) {
		return h.exchange(ctx, l, response.code, network)
	})
	if r.Context().Err() != nil {
		return nil // the browser is gone; the flight goes on without it
	}
	var f failure
	switch {
	case errors.As(err, &f) && f.reason == loginUsed:
		return h.orphan(w, r, loginUsed, l.returnTo)
	case errors.As(err, &f):
		f.returnTo = l.returnTo
		return h.fail(w, r, f)
	case errors.Is(err, errBusy):
		return h.fail(w, r, failure{reason: tooManyLogins, cause: err, returnTo: l.returnTo})
	case err != nil:
		return h.fail(w, r, failure{reason: authServerUnavailable, cause: err, returnTo: l.returnTo})
	}
	return h.arrive(w, r, l, session)
}

// arrive hands the browser its session and sends it to where it was going,
// with the code gone from the address.
func (h *Handler) arrive(w http.ResponseWriter, r *http.Request, l *login, session *landing) error {
	if session.given.Swap(true) {
		s, err := h.load(r.Context(), session.secret, h.now())
		if err != nil {
			return h.fail(w, r, failure{reason: storeUnavailable, cause: err, returnTo: l.returnTo})
		}
		if s == nil {
			return h.orphan(w, r, loginUsed, l.returnTo)
		}
	}
	h.discard(r, *session.secret)
	done := &login{
		done:     true,
		started:  l.started,
		fresh:    earlier(h.now().Add(lostSession), session.ends),
		state:    l.state,
		returnTo: l.returnTo,
	}
	name := h.cookies.loginCookieName(l.state)
	h.cookies.set(w, name, h.loginKeys.seal(name, done), loginLifetime)
	h.cookies.set(w, h.cookies.session, cookieEncoding.EncodeToString(session.secret[:]), 0)
	h.seeOther(w, h.returnTarget(l.returnTo))
	return nil
}

// declined answers a callback that carries an error. The login it belongs to
// is over. Without one nothing is consumed, and the text is not shown: anybody
// could have written it.
func (h *Handler) declined(w http.ResponseWriter, r *http.Request, response authorizationResponse, l *login) error {
	f, words := failure{reason: providerError}, response.err+" "+response.description
	if response.err == "access_denied" {
		f.reason, words = accessDenied, response.description
	}
	if l != nil && !l.done {
		h.cookies.set(w, h.cookies.loginCookieName(l.state), "", -1)
		f.returnTo = l.returnTo
		f.provider = strings.TrimSpace(words)
	}
	return h.fail(w, r, f)
}

// orphan answers a callback that brings nothing that can be used. Who is
// signed in just goes on; anybody else is told why and asked.
func (h *Handler) orphan(w http.ResponseWriter, r *http.Request, reason reason, returnTo string) error {
	s, err := h.find(r.Context(), cookieLines(r), h.now())
	if err != nil {
		return h.fail(w, r, failure{reason: storeUnavailable, cause: err, returnTo: returnTo})
	}
	if s != nil && !s.over(h.now()) {
		h.seeOther(w, h.returnTarget(returnTo))
		return nil
	}
	return h.fail(w, r, failure{reason: reason, returnTo: returnTo})
}
