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
	"http.truelayer.connection_url": func(state *requestState, _ time.Time) any { return state.connection.pageURL() },
	"http.truelayer.renew_url": func(state *requestState, now time.Time) any {
		return state.connection.renewURL(state.session, now)
	},
	"http.truelayer.verification":       verified(func(v *verification) string { return v.state.Result.String() }),
	"http.truelayer.match_score":        verified(func(v *verification) string { return v.score() }),
	"http.truelayer.verified_at":        verified(func(v *verification) string { return v.at() }),
	"http.truelayer.claimed_name":       verified(func(v *verification) string { return v.claimed }),
	"http.truelayer.account_holder":     verified(func(v *verification) string { return v.state.Holder }),
	"http.truelayer.consent_expires_in": func(state *requestState, now time.Time) any { return secondsUntil(state.session.ConsentEnds, now) },
}

// verified returns the value of a placeholder of verify_name, which is "" without it.
func verified(value func(*verification) string) func(*requestState, time.Time) any {
	return func(state *requestState, _ time.Time) any {
		if state.verification == nil {
			return ""
		}
		return value(state.verification)
	}
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
