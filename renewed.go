package truelayer

import (
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// replacedSecrets returns the secrets of the sessions that a login replaces: of the one that
// it renews, or else of all that the browser has.
func (f *loginFlow) replacedSecrets(q *request, l *login) []session.Secret {
	secrets := q.ownCookies.sessionSecrets()
	if l.renews == "" {
		return secrets
	}
	for i := range secrets {
		if f.sessions.Label.SessionID(&secrets[i]) == l.renews {
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
	s, err := f.sessions.Look(q.Context(), f.replacedSecrets(q, l), now)
	if err != nil || s == nil || s.IsOver(now) {
		return nil
	}
	return s
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
