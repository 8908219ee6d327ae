package simulator

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// access is the result of checking a request's access token: the connection that
// it gives access to, or why it gives none.
type access struct {
	connection connection // a copy
	expired    time.Time  // when the token expired, if it has
	invalid    bool       // missing, forged, superseded, or its connection deleted
	denied     bool       // the consent has ended
}

// access checks everything about a request's access token except its scope.
func (s *Simulator) access(r *http.Request) access {
	token, ok := bearer(r)
	if !ok {
		return access{invalid: true}
	}
	c, err := s.keys.verify(token)
	if err != nil {
		return access{invalid: true}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	known, ok := s.connections.get(c.Subject, now)
	if !ok || s.settings.OnlyLatestToken && known.latestToken != c.TokenID {
		return access{invalid: true}
	}
	a := access{connection: *known}
	// When a consent ends, its tokens expire as well. The consent is the more
	// helpful reason.
	switch {
	case known.over(now):
		a.denied = true
	case now.Unix() >= c.Expires:
		a.expired = time.Unix(c.Expires, 0).UTC()
	}
	a.connection.scopes = c.Scope
	return a
}

func bearer(r *http.Request) (token string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// refusal returns the Data API's error for a resource that needs the scope, or nil
// if the access token suffices. An empty scope means that any will do.
func (a *access) refusal(scope string) *oauthError {
	switch {
	case a.invalid:
		return &oauthError{
			status: http.StatusUnauthorized, Error: "invalid_token", Description: "send a valid access token",
		}
	case !a.expired.IsZero():
		return &oauthError{
			status: http.StatusUnauthorized, Error: "invalid_token",
			Description: fmt.Sprintf("the token expired at %s: refresh it", a.expired.Format(time.RFC3339)),
		}
	case a.denied:
		return &oauthError{
			status: http.StatusForbidden, Error: "access_denied",
			Description: "the consent expired or was revoked: ask the user to connect again",
		}
	case scope != "" && !a.connection.has(scope):
		return &oauthError{
			status: http.StatusForbidden, Error: "access_denied",
			Description: fmt.Sprintf("the token lacks the scope %s: ask for it in the auth link", scope),
		}
	}
	return a.connection.person.apiFailure()
}

// apiFailure returns the Data API's error for a mock user whose calls fail.
func (p person) apiFailure() *oauthError {
	switch p.failure {
	case "":
		return nil
	case "internal_error":
		return &oauthError{
			status: http.StatusInternalServerError, Error: "internal_server_error", Description: errInternal.Description,
		}
	case "provider_error":
		return &oauthError{
			status: http.StatusServiceUnavailable, Error: "provider_error", Description: "the bank does not answer: try again later",
		}
	case "user_input_required":
		return &oauthError{
			status: http.StatusForbidden, Error: "sca_exceeded", Description: "the bank wants to see the user again: ask them to connect again",
		}
	}
	return &oauthError{
		status: http.StatusForbidden, Error: "access_denied",
		Description: fmt.Sprintf("the bank refuses: %s", strings.ReplaceAll(p.failure, "_", " ")),
	}
}
