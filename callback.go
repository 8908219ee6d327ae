package truelayer

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// serveCallback serves the redirect URI. It checks everything that needs no network
// before it sends anything to the auth server.
func (f *loginFlow) serveCallback(w http.ResponseWriter, q *request) error {
	noStore(w)
	if q.Method != http.MethodGet {
		return f.notAllowed(w, q, http.MethodGet)
	}
	if reason, ok := failedReason(q); ok && f.disablePages {
		err := f.show(w, q, failure{reason: reason})
		q.outcome, q.reason = outcomeAnswered, "" // the failure was counted at the address before
		return err
	}
	response, ok := readAuthorizationResponse(q.query())
	if !ok {
		return f.failLogin(w, q, nil, failure{reason: callbackMalformed})
	}
	if response.issuer != "" && response.issuer != f.issuer {
		// a mix-up of two auth servers (RFC 9207 section 2.4); iss is optional
		return f.failLogin(w, q, nil, failure{reason: issuerMismatch, received: response.issuer})
	}
	l := f.logins.find(q.cookies, response.state)
	f.callbacks.noteCallback()
	switch {
	case response.err != "":
		return f.declined(w, q, response, l)
	case response.code == "":
		return f.abandoned(w, q, response, l)
	case l == nil:
		return f.failUnlessSignedIn(w, q, nil, failure{reason: loginLost, details: []pages.Words{{Key: "login_lost_again"}}, returnTo: "/"})
	case l.done:
		f.seeOther(w, q, f.addresses.returnTarget(l.returnTo))
		return nil
	case l.isOver(q.now):
		return f.failUnlessSignedIn(w, q, l, failure{reason: loginExpired, returnTo: l.returnTo})
	}
	return f.exchange(w, q, response.code, l)
}

// exchange exchanges the login's code for a session, sets the session cookie, and
// redirects to where the visitor was going, which takes the code out of the address.
func (f *loginFlow) exchange(w http.ResponseWriter, q *request, code string, l *login) error {
	f.proxy.check(q)
	predecessor := f.predecessor(q, l)
	ctx := q.withLoginCause(loginCause{l.consentID, l.renews, predecessor})
	begun, err := f.sessions.Begin(ctx, session.Login{
		State: l.state, RedirectURI: l.redirectURI, Verifier: l.verifier, Provider: l.provider, Scopes: strings.Fields(l.scopes),
		Renews: predecessor, Carry: vouch.Carry, Started: l.started, Expires: l.started.Add(loginLifetime),
	}, code, clientNetwork(q.Request))
	if q.isGone() {
		return nil // the browser has gone; the exchange continues without it
	}
	if err != nil {
		failed := failureOf(err)
		failed.returnTo = l.returnTo
		if failed.reason == loginUsed {
			return f.failUnlessSignedIn(w, q, l, failed)
		}
		if failed.reason == tooManyLogins {
			return f.failLogin(w, q, l, failed)
		}
		f.keepsRenewed(q, l, &failed)
		return f.fail(w, q, failed) // the exchange has told the observer
	}
	q.setPlaceholder(userID, begun.Connection) // for the access log
	f.discardReplaced(ctx, q, l, predecessor, begun.Secret)
	sessionExpected := f.now().Add(lostSessionWindow)
	if begun.Ends.Before(sessionExpected) {
		sessionExpected = begun.Ends
	}
	f.logins.prune(w, q.cookies)
	f.logins.markDone(w, l, sessionExpected)
	f.cookies.set(w, f.cookies.session, encodeSecret(&begun.Secret), 0)
	if f.remembers && begun.Provider != "" {
		f.cookies.rememberBank(w, begun.Provider)
	}
	f.seeOther(w, q, f.addresses.returnTarget(l.returnTo))
	return nil
}

// declined answers a callback that carries an error. It ends the login that the
// callback belongs to. If there is no such login, it does not show the error's text,
// since anybody could have written it.
func (f *loginFlow) declined(w http.ResponseWriter, q *request, response authorizationResponse, l *login) error {
	failed, words := failure{reason: providerError}, response.err+" "+response.description
	if response.err == "access_denied" {
		failed.reason, words = accessDenied, response.description
	}
	failed.received = strings.TrimSpace(response.err + " " + response.description)
	if l != nil && !l.done {
		f.logins.remove(w, l)
		failed.returnTo = l.returnTo
		failed.provider, failed.received = strings.TrimSpace(words), ""
	}
	return f.failLogin(w, q, l, failed)
}

// abandoned answers a callback with neither a code nor an error. Anybody can cause
// one, so it ends no login: the visitor may still come back from the bank in another
// tab.
func (f *loginFlow) abandoned(w http.ResponseWriter, q *request, response authorizationResponse, l *login) error {
	returnTo, underWay := "/", 0
	var only *login // nil if there are several
	for other := range f.logins.in(q.cookies) {
		if other.done || other.isOver(q.now) || response.state != "" && other.state != response.state {
			continue
		}
		if underWay++; underWay == 1 {
			only, returnTo = other, other.returnTo
		} else {
			only, returnTo = nil, "/"
		}
	}
	switch {
	case underWay > 0:
		failed := failure{reason: accessDenied, cause: errNoCodeOrError, returnTo: returnTo}
		f.keepsRenewed(q, only, &failed)
		return f.failLogin(w, q, l, failed)
	case l != nil && l.done:
		f.seeOther(w, q, f.addresses.returnTarget(l.returnTo))
		return nil
	}
	return f.failLogin(w, q, nil, failure{reason: callbackMalformed})
}

// findMisplaced returns the login whose callback arrived at a path other than the
// redirect URI's, or nil if q is no such callback. An application may have callbacks
// of its own, so the state has to belong to a login of this browser.
func (f *loginFlow) findMisplaced(q *request) *login {
	query := q.query()
	if !strings.Contains(query, "state=") {
		return nil
	}
	// use the parameters that can be parsed, even if others are malformed
	values, _ := url.ParseQuery(strings.ReplaceAll(query, ";", "&"))
	if !values.Has("code") && !values.Has("error") {
		return nil
	}
	for _, state := range values["state"][:min(len(values["state"]), 4)] {
		if l := f.logins.find(q.cookies, state); l != nil {
			return l
		}
	}
	return nil
}

// failMisplaced answers a callback at a wrong path. The code reaches neither the
// application nor the return target of the next login.
func (f *loginFlow) failMisplaced(w http.ResponseWriter, q *request, l *login) error {
	arrived := sanitize(q.path())
	return f.failLogin(w, q, l, failure{
		reason:   callbackMisplaced,
		cause:    fmt.Errorf("the callback of a login arrived at the path %q instead of %q: something in front changes the path, or another redirect_uri is registered; pass the path through unchanged, or change redirect_uri here and in TrueLayer's Console", arrived, f.addresses.callback),
		details:  []pages.Words{{Key: "misplaced_paths", Values: []any{f.addresses.callback, arrived}}},
		returnTo: l.returnTo,
	})
}

// failUnlessSignedIn answers a callback that cannot be used. A visitor who is signed
// in already continues to the return target; anybody else gets the failure, and so does who
// is still signed in with the session that the login was to renew. If the login was used,
// another request is renewing that session, or has done so.
func (f *loginFlow) failUnlessSignedIn(w http.ResponseWriter, q *request, l *login, failed failure) error {
	if failed.reason != loginUsed && f.renewedSession(q, l) != nil {
		return f.failLogin(w, q, l, failed)
	}
	now := f.now()
	s, err := f.sessions.Find(q.Context(), q.ownCookies.sessionSecrets(), now)
	if err != nil && !session.IsRevoked(err) {
		returnTo := failed.returnTo
		failed = failureOf(err)
		failed.returnTo = returnTo
	} else if s != nil && !s.IsOver(now) {
		f.seeOther(w, q, f.addresses.returnTarget(failed.returnTo))
		return nil
	}
	return f.failLogin(w, q, l, failed)
}

// failLogin answers a callback whose code was not sent, and notes that the login has
// failed. l is nil if the callback belongs to no login of this browser.
func (f *loginFlow) failLogin(w http.ResponseWriter, q *request, l *login, failed failure) error {
	provider := ""
	if l != nil {
		provider = l.provider
	}
	if !q.isGone() { // or else the store may have failed only because it was not waited for
		f.observer.loginFailed(q.withCause(), provider, failed.reason)
	}
	f.keepsRenewed(q, l, &failed)
	return f.fail(w, q, failed)
}
