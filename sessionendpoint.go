package truelayer

import (
	"net/http"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// sessionEndpoint tells a front end whether there is a session.
type sessionEndpoint struct {
	*failureResponder
	sessions  *session.Manager
	logoutURL string // "" if the application serves the logout address
	links     *connectionLinks
}

// sessionInfo is the endpoint's response.
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
	ConnectionURL    string   `json:"connection_url,omitempty"`
	RenewURL         string   `json:"renew_url,omitempty"`
}

// serve serves <redirect path>/session. The response never contains a token, and the
// request does not count as use of the session.
func (e *sessionEndpoint) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return e.notAllowed(w, q, "GET, HEAD")
	}
	info := sessionInfo{LoginURL: e.addresses.loginURL("/"), LogoutURL: e.logoutURL, ConnectionURL: e.links.pageURL()}
	s, err := e.sessions.Look(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	switch {
	case session.IsRevoked(err):
		info.Reason = sessionRevoked
	case err != nil:
		return e.fail(w, q, failureOf(err))
	case s != nil:
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
		// the session has not ended but has no usable token; the login URL starts a
		// new login
		info.Connected, info.Reason = false, tokenUnavailable
	}
	info.RenewURL = e.links.renewURL(s, q.now)
	info.Provider = s.Provider
	info.Scopes = strings.Fields(s.Scopes)
	info.TokenExpiresIn = new(secondsUntil(s.TokenExpires, q.now))
	info.SessionExpiresIn = new(secondsUntil(e.sessions.Ends(s, q.now), q.now))
	info.ConsentExpiresIn = new(secondsUntil(s.ConsentEnds, q.now))
}
