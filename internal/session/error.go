package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

// Kind is the kind of an Error.
type Kind int

// The kinds of an Error.
const (
	// StoreFailed: the store failed. Whether there is a session is not known.
	StoreFailed Kind = iota
	// StoreFull: the store is at its configured limit.
	StoreFull
	// TokenUnavailable: the session has not ended, but its access token has expired
	// and could not be refreshed.
	TokenUnavailable
	// LoginUsed: the login's code has been sent before.
	LoginUsed
	// CodeRefused: the auth server refused the code.
	CodeRefused
	// ClientRefused: the auth server refused the client.
	ClientRefused
	// ScopeRefused: none of the scopes asked for was granted.
	ScopeRefused
	// TokenRefused: the access token did not pass verification.
	TokenRefused
	// TokenUnverified: the keys to verify the access token could not be fetched.
	TokenUnverified
	// AuthServerFailed: the auth server did not answer, or its answer was unusable.
	AuthServerFailed
	// TooManyLogins: the login has to wait. Its code has not been sent.
	TooManyLogins
	// Revoked: an operator has ended the session.
	Revoked
)

// Error says why there is no usable session.
type Error struct {
	Kind Kind
	// Cause is for the operator. It contains no secret.
	Cause error
	// RetryAfter is how long to wait before trying again; 0 if that is not known.
	RetryAfter time.Duration
	// Stuck says that a TokenUnavailable has lasted for a while.
	Stuck bool
}

// Error implements error.
func (e *Error) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// storeError returns the Error for an error of the store.
func storeError(err error) error {
	if errors.Is(err, ErrFull) {
		return &Error{Kind: StoreFull, Cause: err}
	}
	return &Error{Kind: StoreFailed, Cause: err}
}

var errRevoked = &Error{Kind: Revoked, Cause: errors.New("an operator has ended the session")}

// IsRevoked reports whether an error says that an operator has ended the session.
func IsRevoked(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == Revoked
}

var errLoginUsed = &Error{Kind: LoginUsed, Cause: errors.New("the login's code has been sent before")}

// refreshError returns the Error that says why a token was not refreshed. It has the kind
// that an exchange would have, but for refusals that concern no code.
func refreshError(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok && known.Kind == TokenUnavailable {
		err = known.Cause // what the waiting requests are not told
	}
	failed := exchangeError(err)
	if failed.Kind == CodeRefused {
		return &Error{Kind: TokenUnavailable, Cause: err}
	}
	return failed
}

// exchangeError returns the Error for an exchange that failed. By the error code (RFC
// 6749 section 5.2 and TrueLayer's own) it distinguishes errors that a new login can
// fix, errors that only the operator can fix, and an endpoint that gave no valid answer.
func exchangeError(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if errors.Is(err, flight.ErrBusy) {
		return &Error{Kind: TooManyLogins, Cause: err}
	}
	answer, ok := errors.AsType[*authserver.Error](err)
	if !ok || answer.Code == "" || answer.Status/100 != 4 {
		return &Error{Kind: AuthServerFailed, Cause: err}
	}
	switch answer.Code {
	case "invalid_client", "unauthorized_client":
		return &Error{Kind: ClientRefused, Cause: fmt.Errorf("%w; check client_id, client_secret and environment", err)}
	case "unauthorized":
		return &Error{Kind: ClientRefused, Cause: fmt.Errorf("%w; check client_id, client_secret and environment; TrueLayer also answers this way to too many requests", err)}
	case "invalid_scope":
		return &Error{Kind: ScopeRefused, Cause: fmt.Errorf("%w; check which scopes TrueLayer has enabled for the client id", err)}
	}
	return &Error{Kind: CodeRefused, Cause: err}
}
