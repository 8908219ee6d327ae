package truelayer

import (
	"net/http"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// sessionEndpoint tells a front end whether there is a session.
type sessionEndpoint struct {
	*failures
	sessions  *session.Manager
	logoutURL string // "" if the logout address is the application's
}

// sessionInfo is what it tells.
type sessionInfo struct {
	Connected        bool     `json:"connected"`
	Reason           reason   `json:"reason,omitempty"`
	Provider         string   `json:"provider,omitempty"`
	Scopes           []string `json:"scopes,omitempty"`
	TokenExpiresIn   *int     `json:"token_expires_in,omitempty"`
	SessionExpiresIn *int     `json:"session_expires_in,omitempty"`
	ConsentExpiresIn *int     `json:"consent_expires_in,omitempty"`
	LoginURL         string   `json:"login_url"`
	LogoutURL        string   `json:"logout_url,omitempty"`
}

// serve is <redirect path>/session. It never holds a token, and asking
// does not count as using the session.
func (e *sessionEndpoint) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return e.notAllowed(w, q, "GET, HEAD")
	}
	info := sessionInfo{LoginURL: e.addresses.loginURL("/"), LogoutURL: e.logoutURL}
	s, err := e.sessions.Look(q.Context(), q.own.sessions(), q.now)
	if err != nil {
		return e.fail(w, q, failureOf(err))
	}
	if s != nil {
		e.describe(&info, q, s)
	}
	return e.json(w, http.StatusOK, "application/json", info)
}

func (e *sessionEndpoint) describe(info *sessionInfo, q *request, s *session.Session) {
	if s.IsOver(q.now) {
		info.Reason = consentExpired
		return
	}
	info.Connected = true
	if e.sessions.HasNoToken(s, q.now) {
		// the session lasts, but nothing can be done with it; the login URL begins
		// a login in its place
		info.Connected, info.Reason = false, tokenUnavailable
	}
	info.Provider = s.Provider
	info.Scopes = strings.Fields(s.Scopes)
	info.TokenExpiresIn = new(secondsUntil(s.TokenExpires, q.now))
	info.SessionExpiresIn = new(secondsUntil(e.sessions.Ends(s, q.now), q.now))
	info.ConsentExpiresIn = new(secondsUntil(s.ConsentEnds, q.now))
}
