package truelayer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

const (
	maxCallbackQuery = 8 << 10
	maxCode          = 1 << 10
	// lostSession is for how long after a login a navigation without its
	// session is answered with a page instead of another trip to the bank.
	lostSession = time.Minute
	// refusedClaimLifetime is how long it is remembered that a code was refused.
	refusedClaimLifetime = time.Minute
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
		seeOther(w, h.returnTarget(l.returnTo))
		return nil
	case h.now().Sub(l.started) > loginLifetime:
		return h.orphan(w, r, loginExpired, l.returnTo)
	}
	result, err := h.auth.exchangeOnce(r.Context(), h.claimID(l.state), clientNetwork(r), func(ctx context.Context) (any, error) {
		return h.exchange(ctx, l, response.code)
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
	return h.arrive(w, r, l, result.(*landing))
}

// landing is the result of a successful exchange.
type landing struct {
	secret *cookieSecret
	ends   time.Time
	given  atomic.Bool // to a browser, which may have signed out since
}

// exchange takes the login's code to the token endpoint and begins a session.
// Claiming the login first makes sure that no other node or process sends the
// code as well, and that the store can be written before the code is burnt.
func (h *Handler) exchange(ctx context.Context, l *login, code string) (*landing, error) {
	expires := l.started.Add(loginLifetime + time.Minute)
	id, claim := h.claimID(l.state), claimRecord(h.client.ID, l.started, expires)
	err := h.store.Create(ctx, id, claim, expires.Sub(h.now()))
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, failure{reason: loginUsed}
	case err != nil:
		return nil, storeFailure(err)
	}
	token, err := h.client.Exchange(ctx, code, l.redirectURI, l.verifier)
	if err != nil {
		if answer, ok := errors.AsType[*authserver.Error](err); ok && answer.Status/100 == 4 {
			h.shortenClaim(ctx, id, claim, l.started)
		}
		return nil, exchangeFailure(err)
	}
	if err := h.checkScopes(token.Scopes); err != nil {
		return nil, failure{reason: scopeRefused, cause: err}
	}
	if h.verifier != nil {
		err := h.verifier.Verify(ctx, token.Access)
		if errors.Is(err, authserver.ErrKeysUnavailable) {
			return nil, failure{reason: tokenUnverified, cause: err}
		}
		if err != nil {
			return nil, failure{reason: tokenRefused, cause: err}
		}
	}
	session, err := h.create(ctx, token)
	if err != nil {
		return nil, storeFailure(err)
	}
	return session, nil
}

// shortenClaim lets the claim on a code that was refused expire soon. By then
// no browser repeats the callback of itself, and callbacks with invented codes,
// which anybody can send, do not fill the store for half an hour. Should it
// fail, the claim stays as it is.
func (h *Handler) shortenClaim(ctx context.Context, id string, claim []byte, started time.Time) {
	shortened := claimRecord(h.client.ID, started, h.now().Add(refusedClaimLifetime))
	_ = h.store.Replace(ctx, id, claim, shortened, refusedClaimLifetime)
}

// checkScopes compares the granted scopes with the ones asked for. Banks
// differ in what they can grant, so a part is accepted and shown to the
// application in a placeholder; none at all is no connection. offline_access
// is not data.
func (h *Handler) checkScopes(granted []string) error {
	if granted == nil || slices.Equal(granted, h.Scopes) {
		return nil
	}
	h.logger.Info("the granted scopes differ from the ones asked for",
		zap.Strings("granted", granted), zap.Strings("asked", h.Scopes))
	for _, scope := range h.Scopes {
		if scope != "offline_access" && slices.Contains(granted, scope) {
			return nil
		}
	}
	return errors.New("none of the scopes asked for was granted; check which scopes TrueLayer has enabled for the client id")
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
	seeOther(w, h.returnTarget(l.returnTo))
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
		seeOther(w, h.returnTarget(returnTo))
		return nil
	}
	return h.fail(w, r, failure{reason: reason, returnTo: returnTo})
}

// claimID is the id of the record that says: this login's code is taken.
func (h *Handler) claimID(state string) string {
	id := h.label.derive("claim", []byte(state)[:min(len(state), 43)])
	return string(id[:])
}

func storeFailure(err error) failure {
	if errors.Is(err, ErrFull) {
		return failure{reason: sessionsFull, cause: err}
	}
	return failure{reason: storeUnavailable, cause: err}
}

// exchangeFailure tells what the visitor can mend from what the operator has
// to, by the parsed error code (RFC 6749 section 5.2 and TrueLayer's own), and
// both from an endpoint that gave no answer to the request.
func exchangeFailure(err error) failure {
	answer, ok := errors.AsType[*authserver.Error](err)
	if !ok || answer.Code == "" || answer.Status/100 != 4 || answer.Status == http.StatusTooManyRequests {
		return failure{reason: authServerUnavailable, cause: err}
	}
	switch answer.Code {
	case "invalid_client", "unauthorized_client":
		return failure{reason: clientRefused, cause: fmt.Errorf("%w; check client_id, client_secret and environment", err)}
	case "unauthorized":
		return failure{reason: clientRefused, cause: fmt.Errorf("%w; check client_id, client_secret and environment; TrueLayer also answers so to too many requests", err)}
	case "invalid_scope":
		return failure{reason: scopeRefused, cause: fmt.Errorf("%w; check which scopes TrueLayer has enabled for the client id", err)}
	}
	return failure{reason: codeRefused, cause: err}
}
