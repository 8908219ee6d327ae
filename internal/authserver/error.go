package authserver

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error says why a call to the auth server failed. It contains only the error code of
// the answer's body, so it is safe to log.
type Error struct {
	// Call is what was called, such as "token endpoint".
	Call string
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
	b.WriteString(e.Call + ": ")
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

// NewError returns the Error of a call that had no readable answer, or one that cannot be
// used. The status is 0 if there was no answer.
func NewError(call string, status int, header http.Header, cause error) *Error {
	return &Error{Call: call, Status: status, CorrelationID: correlationID(header), cause: cause}
}

// ReadError reads an error answer (RFC 6749 section 5.2). The body may be HTML, since
// TrueLayer is behind a content delivery network.
func ReadError(call string, status int, header http.Header, body []byte, now time.Time) *Error {
	e := NewError(call, status, header, nil)
	e.RetryAfter = readRetryAfter(header, now)
	members, err := readObject(body)
	if err == nil {
		e.Code, err = readString(members, "error", 64)
	}
	if err != nil || !isLogSafe(e.Code) {
		e.Code = ""
		e.cause = fmt.Errorf("answered %d without a readable error code", status)
	}
	return e
}

// Unwrap returns the underlying error, if any.
func (e *Error) Unwrap() error { return e.cause }
