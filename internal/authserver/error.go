package authserver

import (
	"strings"
	"time"
)

// Error says why a token request returned no token. It contains only the error
// code of the answer's body, so it is safe to log.
type Error struct {
	// Status is the HTTP status of the answer, or 0 if there was no answer.
	Status int
	// Unsent reports that no connection was made, so the server has not seen the
	// request.
	Unsent bool
	// Code is the error code in the answer (RFC 6749 section 5.2), or "" if it has
	// no readable one.
	Code string
	// RetryAfter is how long the server asks the client to wait, at most
	// MaxRetryAfter (RFC 9110 section 10.2.3). It is 0 if the server did not say.
	RetryAfter time.Duration
	// CorrelationID is TrueLayer's id of the call, for its support. It may be "".
	CorrelationID string

	cause error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("token endpoint: ")
	switch {
	case e.Code != "":
		b.WriteString("refused with " + e.Code)
	case e.cause != nil:
		b.WriteString(e.cause.Error())
	default:
		b.WriteString("unexpected answer")
	}
	if e.CorrelationID != "" {
		b.WriteString(" (TrueLayer's correlation id is " + e.CorrelationID + ")")
	}
	return b.String()
}

// Unwrap returns the underlying error, if any.
func (e *Error) Unwrap() error { return e.cause }
