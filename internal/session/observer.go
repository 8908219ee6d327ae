package session

import "context"

// Observer is told what happens to sessions. Each call tells of one thing that has
// happened, in the process in which it happened, and if it changes a record, after the
// store has the change.
//
// The context has the values of the request that was the cause. That request may be
// over. Methods are called by many goroutines at once and must not block.
type Observer interface {
	// SessionBegan tells that a login has begun a session.
	SessionBegan(ctx context.Context, s *Session)
	// LoginFailed tells that the exchange for a login began no session. provider is the
	// bank of its auth link, "" if the visitor chose one.
	LoginFailed(ctx context.Context, provider string, err *Error)
	// RefreshFailed tells that a session's token was not refreshed. The session goes on.
	RefreshFailed(ctx context.Context, s *Session, err *Error)
	// SessionEnded tells that a session has ended. Nobody notices when a session
	// expires.
	SessionEnded(ctx context.Context, s *Session, cause Cause)
	// Disconnected tells that a connection was ended at TrueLayer.
	Disconnected(ctx context.Context, s *Session)
	// Waits tells that a request waits for work that the request with the context
	// starter has begun, possibly itself. It calls done when it no longer waits.
	Waits(ctx context.Context, work Work, starter context.Context) (done func())
}

// Work is what a request can wait for.
type Work string

// What a request can wait for.
const (
	Exchange Work = "exchange"
	Refresh  Work = "refresh"
)

// Cause is why a session ended.
type Cause string

// Why a session ends.
const (
	EndedByLogout  Cause = "logout"
	EndedByConsent Cause = "consent"
	EndedByLogin   Cause = "replaced" // the visitor has logged in again
	// EndedByRevocation is for whoever calls Revoke; the observer is not told of it.
	EndedByRevocation Cause = "revoked"
)
