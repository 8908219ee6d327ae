package truelayer

import (
	"cmp"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// userID is the placeholder that Caddy's own authentication handlers set and that its
// access log reads.
const userID = "http.auth.user.id"

// setPlaceholders provides the placeholders that describe the connection, once for all
// blocks that the request goes through. Their values are computed when they are used,
// from the session that the last block found. Without a session they are empty, since
// an unknown placeholder would be sent as its own name.
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
		return value(state, now()), true
	})
}

var placeholders = map[string]func(state *requestState, now time.Time) any{
	userID:                      func(state *requestState, _ time.Time) any { return state.session.Connection },
	"http.truelayer.connection": func(state *requestState, _ time.Time) any { return state.session.Connection },
	// replaced in an error response, empty everywhere else
	"http.truelayer.error":      func(*requestState, time.Time) any { return "" },
	"http.truelayer.provider":   func(state *requestState, _ time.Time) any { return state.session.Provider },
	"http.truelayer.scopes":     func(state *requestState, _ time.Time) any { return state.session.Scopes },
	"http.truelayer.expires_in": func(state *requestState, now time.Time) any { return secondsUntil(state.session.TokenExpires, now) },
	"http.truelayer.consent_expires": func(state *requestState, _ time.Time) any {
		return state.session.ConsentEnds.UTC().Format(time.RFC3339)
	},
	"http.truelayer.verification":       func(state *requestState, _ time.Time) any { return state.verification.result() },
	"http.truelayer.match_score":        func(state *requestState, _ time.Time) any { return state.verification.score() },
	"http.truelayer.verified_at":        func(state *requestState, _ time.Time) any { return state.verification.at() },
	"http.truelayer.claimed_name":       func(state *requestState, _ time.Time) any { return state.verification.name() },
	"http.truelayer.account_holder":     func(state *requestState, _ time.Time) any { return state.verification.holder() },
	"http.truelayer.consent_expires_in": func(state *requestState, now time.Time) any { return secondsUntil(state.session.ConsentEnds, now) },
}

// identify records the session that the request belongs to; nil means none. It sets
// the user id accordingly.
func (state *requestState) identify(replacer *caddy.Replacer, s *session.Session) {
	state.session = s
	id := ""
	if s != nil {
		id = s.Connection
	}
	// a value that an earlier handler such as basic_auth has set takes precedence over
	// one that is computed when it is used, so it has to be replaced
	if now, _ := replacer.GetString(userID); now != id {
		state.signedIn = cmp.Or(state.signedIn, now)
		replacer.Set(userID, id)
	}
}

func secondsUntil(t, now time.Time) int { return max(0, int(t.Sub(now).Seconds())) }
