package truelayer

import (
	"context"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// auditTrail writes down who connected and disconnected, and when: one line for each
// event, to a logger of its own, so that Caddy's log option can route it. Lines are never
// left out, and their fields are always the same. docs/observability.md describes them.
type auditTrail struct {
	logger *zap.Logger
	site   string
	events *eventQueue
}

// auditEvent is an event of the audit trail. Its name is a field of the line, and what
// follows "truelayer_" in the name of the Caddy event.
type auditEvent string

const (
	auditLogin           auditEvent = "login"
	auditLoginFailed     auditEvent = "login_failed"
	auditRefreshFailed   auditEvent = "refresh_failed"
	auditConsentEnded    auditEvent = "consent_ended"
	auditLogout          auditEvent = "logout"
	auditSessionReplaced auditEvent = "session_replaced"
	auditDisconnected    auditEvent = "disconnected"
)

// auditMessages are the messages of the lines.
var auditMessages = map[auditEvent]string{
	auditLogin:           "a session has begun",
	auditLoginFailed:     "a login has failed",
	auditRefreshFailed:   "a refresh has failed",
	auditConsentEnded:    "a consent has ended",
	auditLogout:          "a visitor has signed out",
	auditSessionReplaced: "a session was replaced by a new login",
	auditDisconnected:    "a connection was ended at TrueLayer",
}

// write writes a line. It takes the client's address and the request's id from ctx. What
// is not known is empty.
func (a *auditTrail) write(ctx context.Context, event auditEvent, s *session.Session, provider string, why reason) {
	id, connection, scopes := "", "", ""
	if s != nil {
		id, connection, provider, scopes = s.ShortID(), s.Connection, s.Provider, s.Scopes
	}
	from := causeOf(ctx)
	fields := [][2]string{
		{"event", string(event)},
		{"site", a.site},
		{"session", id},
		{"connection", connection},
		{"provider", provider},
		{"scopes", scopes},
		{"client_ip", from.clientIP},
		{"reason", string(why)},
		{"request_id", from.requestID},
	}
	line := make([]zap.Field, len(fields))
	for i, field := range fields {
		line[i] = zap.String(field[0], field[1])
	}
	a.logger.Info(auditMessages[event], line...)
	a.events.add("truelayer_"+string(event), fields)
}

// cause is the request that an event is due to. Work in the background outlives requests,
// so it is read while the request is served.
type cause struct{ clientIP, requestID string }

type causeKey struct{}

// withCause returns the request's context with its cause.
func (q *request) withCause() context.Context {
	return context.WithValue(q.Context(), causeKey{}, cause{clientIP(q.Request), q.id()})
}

func causeOf(ctx context.Context) cause {
	c, _ := ctx.Value(causeKey{}).(cause)
	return c
}
