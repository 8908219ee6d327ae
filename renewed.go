package truelayer

import (
	"context"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// secretOf returns the browser's secret of the session with an id, or no secret.
func (f *loginFlow) secretOf(q *request, id string) []session.Secret {
	secrets := q.ownCookies.sessionSecrets()
	for i := range secrets {
		if f.sessions.Label.SessionID(&secrets[i]) == id {
			return secrets[i : i+1]
		}
	}
	return nil
}

// renewedSession returns the session that a login renews, if it can still be used in this
// browser. It returns nil if there is none, or if nobody knows since the store failed.
func (f *loginFlow) renewedSession(q *request, l *login) *session.Session {
	if l == nil || l.renews == "" {
		return nil
	}
	now := f.now()
	s, err := f.sessions.Look(q.Context(), f.secretOf(q, l.renews), now)
	if err != nil || s == nil || s.IsOver(now) {
		return nil
	}
	return s
}

// predecessor returns the session whose place that of a renewal takes: the renewed one, or if
// it is gone, the one that the browser has now, such as that of a renewal in another tab. It
// returns nil if there is none, if nobody knows, or if the login renews nothing.
func (f *loginFlow) predecessor(q *request, l *login) *session.Session {
	if l.renews == "" {
		return nil
	}
	now := f.now()
	s, err := f.sessions.Look(q.Context(), f.secretOf(q, l.renews), now)
	if s == nil && (err == nil || session.IsRevoked(err)) {
		s, err = f.sessions.Look(q.Context(), q.ownCookies.sessionSecrets(), now)
	}
	if err != nil || s == nil || s.IsOver(now) {
		return nil
	}
	return s
}

// discardReplaced deletes all sessions that the browser had before a login, since the new
// cookie takes the place of theirs and nobody could end them any more. The visitor has asked to
// replace one connection: a renewal ends no other than its predecessor's at TrueLayer.
func (f *loginFlow) discardReplaced(ctx context.Context, q *request, l *login, predecessor *session.Session, current session.Secret) {
	secrets, disconnect := q.ownCookies.sessionSecrets(), f.disconnectsReplaced
	if l.renews != "" {
		if predecessor != nil {
			f.sessions.Discard(ctx, f.secretOf(q, predecessor.ID()), current, disconnect)
		}
		disconnect = false
	}
	f.sessions.Discard(ctx, secrets, current, disconnect)
}

// keepsRenewed has the page about a failed login say that the connection which it was to
// renew goes on, and lead back to where the visitor was.
func (f *loginFlow) keepsRenewed(q *request, l *login, failed *failure) {
	if failed.reason == tooManyLogins || failed.elsewhere { // the page tries again by itself, or says so already
		return
	}
	s := f.renewedSession(q, l)
	if s == nil {
		return
	}
	until := f.sessions.Ends(s, f.now())
	if s.ConsentIsOver() {
		until = s.TokenExpires
	}
	const key = "renewal_failed"
	failed.details = append(failed.details, pages.Words{Key: key, Values: []any{until}})
	failed.elsewhere, failed.link, failed.action = true, f.addresses.returnTarget(l.returnTo), key
}
