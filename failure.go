package truelayer

import (
	"errors"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// failure describes an error response.
type failure struct {
	reason reason
	// cause is logged and never shown.
	cause error
	// details are further sentences for the visitor. They are always escaped.
	details []pages.Words
	// action names the text whose label the button has, "" for the reason's own.
	action string
	// provider is the provider's own description of the error. It is always escaped.
	provider string
	// received is what came in place of what was expected: an issuer, an origin. It is
	// only logged.
	received string
	// loginURL is the login URL, "" for the ordinary one that leads to returnTo.
	loginURL string
	// newTab says that the button opens a tab of its own.
	newTab bool
	// elsewhere says that the button leads to link and not to the login URL. There is none if
	// link is "".
	elsewhere bool
	link      string
	// retryAfter is when the client may try again; 0 means the reason's default.
	retryAfter time.Duration
	// returnTo is where the login URL leads back to; "" means the start page.
	returnTo string
}

// foreignRequest returns the failure for a request that a page of another origin has sent.
func foreignRequest(q *request, err error) failure {
	return failure{reason: crossSite, cause: err, received: originOf(q.Request)}
}

// reasonOf maps each kind of session error to its reason.
var reasonOf = map[session.Kind]reason{
	session.StoreFailed:      storeUnavailable,
	session.StoreFull:        sessionsFull,
	session.TokenUnavailable: tokenUnavailable,
	session.LoginUsed:        loginUsed,
	session.CodeRefused:      codeRefused,
	session.ClientRefused:    clientRefused,
	session.ScopeRefused:     scopeRefused,
	session.TokenRefused:     tokenRefused,
	session.TokenUnverified:  tokenUnverified,
	session.AuthServerFailed: authServerUnavailable,
	session.TooManyLogins:    tooManyLogins,
	session.Revoked:          sessionRevoked,
}

// failureOf returns the failure for an error of package session.
func failureOf(err error) failure {
	e, ok := errors.AsType[*session.Error](err)
	if !ok {
		return failure{reason: storeUnavailable, cause: err}
	}
	f := failure{reason: reasonOf[e.Kind], cause: e.Cause, retryAfter: e.RetryAfter}
	if e.Stuck {
		f.details, f.action = []pages.Words{{Key: "connect_again"}}, "connect_again"
	}
	return f
}
