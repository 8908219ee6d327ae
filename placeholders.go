package truelayer

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// userID is the placeholder that Caddy's own authentication handlers set, and
// that its access log reads.
const userID = "http.auth.user.id"

// setPlaceholders sets what the application may know of the connection, once for
// all blocks that the request goes through: the values are made when they are
// used, and are those of the last block that has found a session. Without one they
// are empty, since a placeholder that nobody knows would be sent as its own name.
func setPlaceholders(replacer *caddy.Replacer, state *requestState, now func() time.Time) {
	if replacer == nil {
		return
	}
	replacer.Map(func(key string) (any, bool) {
		value, ok := placeholders[key]
		if !ok {
			return nil, false
		}
		if state.session == nil {
			return "", true
		}
		return value(state.session, now()), true
	})
}

var placeholders = map[string]func(s *session.Session, now time.Time) any{
	userID:                      func(s *session.Session, _ time.Time) any { return s.Connection },
	"http.truelayer.connection": func(s *session.Session, _ time.Time) any { return s.Connection },
	// set where an answer of ours is an error, empty everywhere else
	"http.truelayer.error":              func(*session.Session, time.Time) any { return "" },
	"http.truelayer.provider":           func(s *session.Session, _ time.Time) any { return s.Provider },
	"http.truelayer.scopes":             func(s *session.Session, _ time.Time) any { return s.Scopes },
	"http.truelayer.expires_in":         func(s *session.Session, now time.Time) any { return secondsUntil(s.TokenExpires, now) },
	"http.truelayer.consent_expires":    func(s *session.Session, _ time.Time) any { return s.ConsentEnds.UTC().Format(time.RFC3339) },
	"http.truelayer.consent_expires_in": func(s *session.Session, now time.Time) any { return secondsUntil(s.ConsentEnds, now) },
}

// identify says whose the request is: the session's, or nobody's if s is nil.
func (state *requestState) identify(replacer *caddy.Replacer, s *session.Session) {
	state.session = s
	id := ""
	if s != nil {
		id = s.Connection
	}
	// what an earlier handler has set, basic_auth for example, wins over what is
	// only made when it is used
	if now, _ := replacer.GetString(userID); now != id {
		replacer.Set(userID, id)
	}
}

func secondsUntil(t, now time.Time) int { return max(0, int(t.Sub(now).Seconds())) }
