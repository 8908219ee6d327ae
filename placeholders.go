package truelayer

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// userID is the placeholder that Caddy's own authentication handlers set, and
// that its access log reads.
const userID = "http.auth.user.id"

// setPlaceholders sets what the application may know of the connection, once for
// all blocks that the request goes through: the values are made when they are
// used, and are those of the last block that has found a session. Without one they
// are empty, since a placeholder that nobody knows would be sent as its own name.
func (h *Handler) setPlaceholders(r *http.Request, t *requestState) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(func(key string) (any, bool) {
		value, ok := placeholders[key]
		if !ok {
			return nil, false
		}
		if t.session == nil {
			return "", true
		}
		return value(t.session, h.now()), true
	})
}

var placeholders = map[string]func(s *storedSession, now time.Time) any{
	userID: func(s *storedSession, _ time.Time) any { return s.connection },
	// set where an answer of ours is an error, empty everywhere else
	"http.truelayer.error":              func(*storedSession, time.Time) any { return "" },
	"http.truelayer.provider":           func(s *storedSession, _ time.Time) any { return s.provider },
	"http.truelayer.scopes":             func(s *storedSession, _ time.Time) any { return s.scopes },
	"http.truelayer.expires_in":         func(s *storedSession, now time.Time) any { return secondsUntil(s.tokenExpires, now) },
	"http.truelayer.consent_expires":    func(s *storedSession, _ time.Time) any { return s.consentEnds.UTC().Format(time.RFC3339) },
	"http.truelayer.consent_expires_in": func(s *storedSession, now time.Time) any { return secondsUntil(s.consentEnds, now) },
}

// identify says whose the request is: the session's, or nobody's if s is nil.
func (t *requestState) identify(repl *caddy.Replacer, s *storedSession) {
	t.session = s
	id := ""
	if s != nil {
		id = s.connection
	}
	// what an earlier handler has set, basic_auth for example, wins over what is
	// only made when it is used
	if now, _ := repl.GetString(userID); now != id {
		repl.Set(userID, id)
	}
}

func secondsUntil(t, now time.Time) int { return max(0, int(t.Sub(now).Seconds())) }
