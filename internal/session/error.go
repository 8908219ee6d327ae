package session

import (
	"errors"
	"time"
)

// Kind is what went wrong.
type Kind int

// The kinds of an Error.
const (
	// StoreFailed: the store did not answer. It says nothing about the session.
	StoreFailed Kind = iota
	// StoreFull: the store is at its configured limit.
	StoreFull
	// TokenUnavailable: the session lasts, but its access token has expired and
	// could not be refreshed.
	TokenUnavailable
	// LoginUsed: the login's code was sent before.
	LoginUsed
	// CodeRefused: the auth server refused the code.
	CodeRefused
	// ClientRefused: the auth server refused the client.
	ClientRefused
	// ScopeRefused: none of the scopes asked for was granted.
	ScopeRefused
	// TokenRefused: the access token did not pass its check.
	TokenRefused
	// TokenUnverified: the keys for that check could not be had.
	TokenUnverified
	// AuthServerFailed: the auth server did not answer, or with nothing of use.
	AuthServerFailed
	// TooManyLogins: the login has to wait, with its code unsent.
	TooManyLogins
)

// Error says why there is no session, or none that can be used.
type Error struct {
	Kind Kind
	// Cause is for the operator. It holds no secret.
	Cause error
	// RetryAfter is when it may be tried again; 0 if that is not known.
	RetryAfter time.Duration
	// Stuck says of TokenUnavailable that it has lasted for a while.
	Stuck bool
}

// Error implements error.
func (e *Error) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// storeError is a failure of the store.
func storeError(err error) error {
	if errors.Is(err, ErrFull) {
		return &Error{Kind: StoreFull, Cause: err}
	}
	return &Error{Kind: StoreFailed, Cause: err}
}
