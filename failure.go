package truelayer

import (
	"errors"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

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

// reasonOf has a reason for each kind of error of a session.
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
}

// failureOf is the answer to an error of a session.
func failureOf(err error) failure {
	e, ok := errors.AsType[*session.Error](err)
	if !ok {
		return failure{reason: storeUnavailable, cause: err}
	}
	f := failure{reason: reasonOf[e.Kind], cause: e.Cause, retryAfter: e.RetryAfter}
	if e.Stuck {
		offer := pages.TextOf("connect_again")
		f.detail, f.action = offer.Text, offer.Action
	}
	return f
}
