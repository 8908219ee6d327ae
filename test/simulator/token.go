package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
)

const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
)

// tokenResponse is the token endpoint's successful answer.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	TokenType    string `json:"token_type"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

func (s *Simulator) serveToken(w http.ResponseWriter, r *http.Request) {
	out, err := s.token(r)
	if err != nil {
		err.write(w)
		return
	}
	token, signErr := s.keys.sign(out.claims, out.cheaply)
	if signErr != nil {
		errInternal.write(w)
		return
	}
	s.record.secret(token)
	s.record.secret(out.refreshToken)
	writeJSON(w, http.StatusOK, tokenResponse{
		AccessToken:  token,
		ExpiresIn:    int64(out.lifetime.Seconds()),
		TokenType:    "Bearer",
		RefreshToken: out.refreshToken,
		Scope:        out.scope,
	})
}

func (s *Simulator) token(r *http.Request) (issued, *oauthError) {
	body, _ := io.ReadAll(r.Body)
	form, err := tokenForm(r.Header, body)
	if err != nil {
		return issued{}, invalidRequest(err.Error())
	}
	client, known := s.clients[form.Get("client_id")]
	if !known || subtle.ConstantTimeCompare([]byte(form.Get("client_secret")), []byte(client.Secret)) != 1 {
		return issued{}, errInvalidClient
	}
	switch form.Get("grant_type") {
	case grantCode:
		return s.exchange(client, form, s.base(r))
	case grantRefresh:
		return s.refreshed(client, form, s.base(r))
	}
	return issued{}, invalidRequest("grant_type: send authorization_code or refresh_token")
}

// exchange exchanges a code for tokens. The code is spent once its own client has
// sent it, even if the rest of the request is wrong.
func (s *Simulator) exchange(client Client, form url.Values, issuer string) (issued, *oauthError) {
	if err := required(form, "code", "redirect_uri"); err != nil {
		return issued{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code := form.Get("code")
	a, ok := s.codes.get(code, s.clock())
	if !ok || a.connection.client.ID != client.ID {
		return issued{}, errInvalidGrant
	}
	s.codes.drop(code)
	c := a.connection
	if a.redirectURI != form.Get("redirect_uri") ||
		!matchesChallenge(a.challenge, form.Get("code_verifier")) || c.over(s.clock()) {
		return issued{}, errInvalidGrant
	}
	offline := s.settings.RefreshTokens == "always" || s.settings.RefreshTokens == "auto" && c.has("offline_access")
	out := s.issue(c, issuer)
	if offline {
		// A renewed connection may have one already. It is forgotten, because its use
		// need not mean that two parties have it.
		s.refresh.drop(c.refreshToken)
		out.refreshToken = s.giveRefreshToken(c)
	}
	return out, nil
}

// refreshed exchanges a refresh token for new tokens. If it has been replaced by a
// newer one, two parties have the connection's tokens, so the connection ends.
func (s *Simulator) refreshed(client Client, form url.Values, issuer string) (issued, *oauthError) {
	if err := required(form, "refresh_token"); err != nil {
		return issued{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	shown := form.Get("refresh_token")
	subject, _ := s.refresh.get(shown, now)
	c, ok := s.connections.get(subject, now)
	if !ok || c.client.ID != client.ID {
		return issued{}, errInvalidGrant
	}
	if shown != c.refreshToken {
		c.ended = true
	}
	if c.over(now) || !now.Before(c.refreshUsed.Add(s.settings.RefreshIdle)) {
		return issued{}, errInvalidGrant
	}
	out := s.issue(c, issuer)
	c.refreshUsed = now
	out.refreshToken = c.refreshToken
	if s.settings.Rotate {
		out.refreshToken = s.giveRefreshToken(c)
	}
	return out, nil
}

// matchesChallenge checks PKCE with S256. It refuses a verifier without a challenge
// as well, since the client must then have mixed up two logins.
func matchesChallenge(challenge, verifier string) bool {
	if challenge == "" || verifier == "" {
		return challenge == verifier
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(encode(sum[:])), []byte(challenge)) == 1
}

func required(form url.Values, names ...string) *oauthError {
	for _, name := range names {
		if form.Get(name) == "" {
			return invalidRequest(name + ": send it")
		}
	}
	return nil
}

// tokenFields are all fields that a token request may have.
var tokenFields = []string{
	"grant_type", "client_id", "client_secret", "code", "redirect_uri", "code_verifier", "refresh_token",
}

// tokenForm reads a token request of either content type. A repeated field is an
// error in both. An unknown field is an error only in JSON, because TrueLayer's
// description of it does not allow others.
func tokenForm(header http.Header, body []byte) (url.Values, error) {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return nil, errors.New("Content-Type: send application/x-www-form-urlencoded or application/json")
	}
	switch mediaType {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return form, errors.New("send a well-formed form")
		}
		for name, values := range form {
			if len(values) > 1 {
				return form, fmt.Errorf("%s: send it once", name)
			}
		}
		return form, nil
	case "application/json":
		return jsonForm(body)
	}
	return nil, fmt.Errorf("Content-Type %s: send application/x-www-form-urlencoded or application/json", mediaType)
}

func jsonForm(body []byte) (url.Values, error) {
	form := make(url.Values)
	found, err := members(body, tokenFields)
	for name, raw := range found {
		var value string
		if json.Unmarshal(raw, &value) != nil && err == nil {
			err = errors.New("send a JSON object whose values are strings")
		}
		form.Set(name, value)
	}
	return form, err
}
