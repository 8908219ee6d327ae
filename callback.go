package truelayer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

const (
	maxCallbackQuery = 8 << 10
	maxCode          = 1 << 10
	// lostSession is for how long after a login a navigation without its
	// session is answered with a page instead of another trip to the bank.
	lostSession = time.Minute
)

// authorizationResponse is what the auth server sends back through the
// browser (RFC 6749 section 4.1.2): a code, or an error. One with neither is not
// in the standard, but is what visitors bring who gave up on the way, unless the
// operator has set a cancellation URI with an error in TrueLayer's Console.
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
	valid := (a.code == "" || a.err == "") && len(a.code) <= maxCode && len(a.state) <= maxCode
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
	if response.code == "" {
		return h.givenUp(w, r, response, l)
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
	session, err := h.auth.exchangeOnce(r.Context(), h.claimID(l.state), network, h.now, func(ctx context.Context) (*loginResult, error) {
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
	case errors.Is(err, flight.ErrBusy):
		return h.fail(w, r, failure{reason: tooManyLogins, cause: err, returnTo: l.returnTo})
	case err != nil:
		return h.fail(w, r, failure{reason: authServerUnavailable, cause: err, returnTo: l.returnTo})
	}
	return h.arrive(w, r, l, session)
}

// arrive hands the browser its session and sends it to where it was going,
// with the code gone from the address.
func (h *Handler) arrive(w http.ResponseWriter, r *http.Request, l *login, session *loginResult) error {
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
		done:            true,
		started:         l.started,
		sessionExpected: earlier(h.now().Add(lostSession), session.ends),
		state:           l.state,
		returnTo:        l.returnTo,
	}
	h.prune(w, r)
	h.putLogin(w, l.cookie, loginSlots[len(loginSlots)-1], done)
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
		h.cookies.set(w, l.cookie, "", -1)
		f.returnTo = l.returnTo
		f.provider = strings.TrimSpace(words)
	}
	return h.fail(w, r, f)
}

// givenUp answers a callback with neither a code nor an error. Anybody can send
// one, so that it uses up no login: the visitor may still come back from the bank
// in another tab.
func (h *Handler) givenUp(w http.ResponseWriter, r *http.Request, response authorizationResponse, l *login) error {
	returnTo, underWay := "/", 0
	for other := range h.loginsOf(r) {
		if other.done || response.state != "" && other.state != response.state {
			continue
		}
		if underWay++; underWay == 1 {
			returnTo = other.returnTo
		} else {
			returnTo = "/"
		}
	}
	switch {
	case underWay > 0:
		return h.fail(w, r, failure{reason: accessDenied, cause: errNeither, returnTo: returnTo})
	case l != nil && l.done:
		h.seeOther(w, h.returnTarget(l.returnTo))
		return nil
	}
	return h.fail(w, r, failure{reason: callbackMalformed})
}

var errNeither = errors.New("the callback has neither a code nor an error, which is how visitors come back who gave up; a cancellation URI that ends in ?error=access_denied, set in TrueLayer's Console, makes that clear")

// misplaced returns the login that a request for another path than the redirect
// URI's is the callback of, or nil. An application may have callbacks of its own,
// so the state has to be that of a login of this browser.
func (h *Handler) misplaced(r *http.Request) *login {
	query := arrived(r).URL.RawQuery
	if !strings.Contains(query, "state=") {
		return nil
	}
	// what can be read of the query counts, whatever is broken beside it
	values, _ := url.ParseQuery(strings.ReplaceAll(query, ";", "&"))
	if !values.Has("code") && !values.Has("error") {
		return nil
	}
	for _, state := range values["state"][:min(len(values["state"]), 4)] {
		if l := h.findLogin(r, state); l != nil {
			return l
		}
	}
	return nil
}

// tellMisplaced answers such a request. Neither the application nor the login that
// would follow gets the code.
func (h *Handler) tellMisplaced(w http.ResponseWriter, r *http.Request, l *login) error {
	came := cut(arrived(r).URL.Path)
	return h.fail(w, r, failure{
		reason:   callbackMisplaced,
		cause:    fmt.Errorf("the callback of a login came to the path %q in place of %q: something in front changes the path, or another host's redirect_uri is registered; let the path through as it is, or change redirect_uri here and in TrueLayer's Console", came, h.paths.callback),
		detail:   fmt.Sprintf(pages.TextOf("misplaced_paths").Text, h.paths.callback, came),
		returnTo: l.returnTo,
	})
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
