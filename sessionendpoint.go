package truelayer

import (
	"encoding/json"
	"net/http"
	"strings"
)

// sessionInfo is what <redirect path>/session tells a front end.
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

// serveSession is <redirect path>/session. It never holds a token, and asking
// does not count as using the session.
func (h *Handler) serveSession(w http.ResponseWriter, r *http.Request) error {
	noStore(w)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return h.fail(w, r, failure{reason: methodNotAllowed})
	}
	info := sessionInfo{LoginURL: h.loginURL("/")}
	if !h.DisableLogout {
		info.LogoutURL = h.origin + h.paths.logout
	}
	for secret := range h.cookies.secrets(cookieLines(r)) {
		s, err := h.load(r.Context(), &secret, h.now())
		if err != nil {
			return h.fail(w, r, failure{reason: storeUnavailable, cause: err})
		}
		if s != nil {
			h.describe(&info, s)
			break
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.writeHeader(w, http.StatusOK)
	return json.NewEncoder(w).Encode(info)
}

func (h *Handler) describe(info *sessionInfo, s *storedSession) {
	now := h.now()
	if s.over(now) {
		info.Reason = consentExpired
		return
	}
	info.Connected = true
	if h.isStuck(s, now) {
		// the session lasts, but nothing can be done with it; the login URL begins
		// a login in its place
		info.Connected, info.Reason = false, tokenUnavailable
	}
	info.Provider = s.provider
	info.Scopes = strings.Fields(s.scopes)
	info.TokenExpiresIn = new(secondsUntil(s.tokenExpires, now))
	info.SessionExpiresIn = new(secondsUntil(earlier(h.ends(&s.session, now), s.consentEnds), now))
	info.ConsentExpiresIn = new(secondsUntil(s.consentEnds, now))
}
