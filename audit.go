package truelayer

import (
	"context"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// auditTrail writes down who connected and disconnected, and when: one line for each
// event, to a logger of its own, so that Caddy's log option can route it. No line is
// sampled. All lines have the same fields; those of some events have some more.
// docs/observability.md describes them.
type auditTrail struct {
	logger *zap.Logger
	site   string
	events *eventQueue
}

// auditEvent is an event of the audit trail. Its name is a field of the line, and what
// follows "truelayer_" in the name of the Caddy event.
type auditEvent string

const (
	auditConsentGiven    auditEvent = "consent_given"
	auditLogin           auditEvent = "login"
	auditLoginFailed     auditEvent = "login_failed"
	auditNameVerified    auditEvent = "name_verified"
	auditRefreshFailed   auditEvent = "refresh_failed"
	auditConsentEnded    auditEvent = "consent_ended"
	auditLogout          auditEvent = "logout"
	auditSessionReplaced auditEvent = "session_replaced"
	auditDisconnected    auditEvent = "disconnected"
	auditSessionRevoked  auditEvent = "session_revoked"
	auditRevocation      auditEvent = "revocation"
)

// auditMessages are the messages of the lines.
var auditMessages = map[auditEvent]string{
	auditConsentGiven:    "a visitor has consented on the site's own page",
	auditLogin:           "a session has begun",
	auditLoginFailed:     "a login has failed",
	auditNameVerified:    "a bank has been asked about a name",
	auditRefreshFailed:   "a refresh has failed",
	auditConsentEnded:    "a consent has ended",
	auditLogout:          "a visitor has signed out",
	auditSessionReplaced: "a session was replaced by a new login",
	auditDisconnected:    "a connection was ended at TrueLayer",
	auditSessionRevoked:  "an operator has ended a session",
	auditRevocation:      "an operator has asked for sessions to be ended",
}

// auditLine is a line of the audit trail. What is not known, or does not apply, is empty.
type auditLine struct {
	event                                 auditEvent
	session, connection, provider, scopes string
	reason                                reason
	extra                                 [][2]string // fields that only this event has
}

// lineOf returns the line of an event of a session.
func lineOf(event auditEvent, s *session.Session) auditLine {
	return auditLine{event: event, session: s.ShortID(), connection: s.Connection, provider: s.Provider, scopes: s.Scopes}
}

// write writes a line. It takes the client's address and the request's id from ctx.
func (a *auditTrail) write(ctx context.Context, l auditLine) {
	from := causeOf(ctx)
	fields := append([][2]string{
		{"event", string(l.event)},
		{"site", a.site},
		{"session", l.session},
		{"connection", l.connection},
		{"provider", l.provider},
		{"scopes", l.scopes},
		{"client_ip", from.clientIP},
		{"reason", string(l.reason)},
		{"request_id", from.requestID},
	}, l.extra...)
	line := make([]zap.Field, len(fields))
	for i, field := range fields {
		line[i] = zap.String(field[0], field[1])
	}
	a.logger.Info(auditMessages[l.event], line...)
	a.events.add("truelayer_"+string(l.event), fields)
}

// cause is the request that an event is due to. Work in the background outlives requests,
// so it is read while the request is served.
type cause struct {
	clientIP, requestID string
	login               loginCause
}

// loginCause is what the audit trail says of the login that begins a session.
type loginCause struct {
	consentID   string           // "" if it has none
	renews      string           // the id of the session that it renews, "" if it renews none
	predecessor *session.Session // that session, or else the one that the browser has, see loginFlow.predecessor
}

type causeKey struct{}

// withCause returns the request's context with its cause.
func (q *request) withCause() context.Context {
	return q.withLoginCause(loginCause{})
}

// withLoginCause is withCause for the request with which a login comes back.
func (q *request) withLoginCause(l loginCause) context.Context {
	return context.WithValue(q.Context(), causeKey{}, cause{clientIP(q.Request), q.id(), l})
}

// extra returns the fields that the line of a session which begins has by its login.
func (l *loginCause) extra(began *session.Session) (fields [][2]string) {
	if l.consentID != "" {
		fields = append(fields, [2]string{"consent_id", l.consentID})
	}
	if l.renews != "" {
		fields = append(fields, [2]string{"renews", session.ShortID(l.renews)}, [2]string{"renews_connection", string(began.RelationTo(l.predecessor))})
	}
	return fields
}

func causeOf(ctx context.Context) cause {
	c, _ := ctx.Value(causeKey{}).(cause)
	return c
}
