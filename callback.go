package truelayer

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// serveCallback is the redirect URI. All that can be checked here is checked
// before anything is sent to the auth server.
func (f *loginFlow) serveCallback(w http.ResponseWriter, q *request) error {
	noStore(w)
	if q.Method != http.MethodGet {
		return f.notAllowed(w, q, http.MethodGet)
	}
	if reason, ok := failedBefore(q); ok && f.asErrors {
		return f.show(w, q, failure{reason: reason})
	}
	response, ok := readAuthorizationResponse(q.query())
	if !ok {
		return f.fail(w, q, failure{reason: callbackMalformed})
	}
	if response.issuer != "" && response.issuer != f.issuer {
		// two auth servers, one of which hands a visitor on to the other's
		// client (RFC 9207 section 2.4); it is checked when it comes
		return f.fail(w, q, failure{reason: issuerMismatch})
	}
	l := f.logins.find(q.cookies, response.state)
	switch {
	case response.err != "":
		return f.declined(w, q, response, l)
	case response.code == "":
		return f.givenUp(w, q, response, l)
	case l == nil:
		return f.orphan(w, q, failure{reason: loginLost, returnTo: "/"})
	case l.done:
		f.seeOther(w, f.addresses.returnTarget(l.returnTo))
		return nil
	case l.isOver(q.now):
		return f.orphan(w, q, failure{reason: loginExpired, returnTo: l.returnTo})
	}
	return f.exchange(w, q, response.code, l)
}

// exchange exchanges the login's code, hands the browser its session and sends it to
// where it was going, with the code gone from the address.
func (f *loginFlow) exchange(w http.ResponseWriter, q *request, code string, l *login) error {
	begun, err := f.sessions.Begin(q.Context(), session.Login{
		State: l.state, RedirectURI: l.redirectURI, Verifier: l.verifier,
		Started: l.started, Expires: l.started.Add(loginLifetime),
	}, code, clientNetwork(q.Request))
	if q.Context().Err() != nil {
		return nil // the browser is gone; the exchange goes on without it
	}
	if err != nil {
		failed := failureOf(err)
		failed.returnTo = l.returnTo
		if failed.reason == loginUsed {
			return f.orphan(w, q, failed)
		}
		return f.fail(w, q, failed)
	}
	f.sessions.Discard(q.Context(), q.own.sessions(), begun.Secret)
	sessionExpected := f.now().Add(lostSession)
	if begun.Ends.Before(sessionExpected) {
		sessionExpected = begun.Ends
	}
	f.logins.prune(w, q.cookies)
	f.logins.markDone(w, l, sessionExpected)
	f.cookies.set(w, f.cookies.session, encodeSecret(&begun.Secret), 0)
	f.seeOther(w, f.addresses.returnTarget(l.returnTo))
	return nil
}

// declined answers a callback that carries an error. The login it belongs to
// is over. Without one nothing is consumed, and the text is not shown: anybody
// could have written it.
func (f *loginFlow) declined(w http.ResponseWriter, q *request, response authorizationResponse, l *login) error {
	failed, words := failure{reason: providerError}, response.err+" "+response.description
	if response.err == "access_denied" {
		failed.reason, words = accessDenied, response.description
	}
	if l != nil && !l.done {
		f.logins.remove(w, l)
		failed.returnTo = l.returnTo
		failed.provider = strings.TrimSpace(words)
	}
	return f.fail(w, q, failed)
}

// givenUp answers a callback with neither a code nor an error. Anybody can send
// one, so that it uses up no login: the visitor may still come back from the bank
// in another tab.
func (f *loginFlow) givenUp(w http.ResponseWriter, q *request, response authorizationResponse, l *login) error {
	returnTo, underWay := "/", 0
	for other := range f.logins.in(q.cookies) {
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
		return f.fail(w, q, failure{reason: accessDenied, cause: errNeither, returnTo: returnTo})
	case l != nil && l.done:
		f.seeOther(w, f.addresses.returnTarget(l.returnTo))
		return nil
	}
	return f.fail(w, q, failure{reason: callbackMalformed})
}

// misplaced returns the login that a request for another path than the redirect
// URI's is the callback of, or nil. An application may have callbacks of its own,
// so the state has to be that of a login of this browser.
func (f *loginFlow) misplaced(q *request) *login {
	query := q.query()
	if !strings.Contains(query, "state=") {
		return nil
	}
	// what can be read of the query counts, whatever is broken beside it
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

// tellMisplaced answers such a request. Neither the application nor the login that
// would follow gets the code.
func (f *loginFlow) tellMisplaced(w http.ResponseWriter, q *request, l *login) error {
	came := cut(q.path())
	return f.fail(w, q, failure{
		reason:   callbackMisplaced,
		cause:    fmt.Errorf("the callback of a login came to the path %q in place of %q: something in front changes the path, or another host's redirect_uri is registered; let the path through as it is, or change redirect_uri here and in TrueLayer's Console", came, f.addresses.callback),
		detail:   fmt.Sprintf(pages.TextOf("misplaced_paths").Text, f.addresses.callback, came),
		returnTo: l.returnTo,
	})
}

// orphan answers a callback that brings nothing that can be used. Who is
// signed in just goes on; anybody else is told why and asked.
func (f *loginFlow) orphan(w http.ResponseWriter, q *request, failed failure) error {
	now := f.now()
	s, err := f.sessions.Find(q.Context(), q.own.sessions(), now)
	if err != nil {
		failed = failure{reason: storeUnavailable, cause: err, returnTo: failed.returnTo}
	} else if s != nil && !s.IsOver(now) {
		f.seeOther(w, f.addresses.returnTarget(failed.returnTo))
		return nil
	}
	return f.fail(w, q, failed)
}
