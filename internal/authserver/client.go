package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Client is an OAuth 2.0 client that is registered at a Server.
type Client struct {
	Server *Server
	ID     string
	Secret Secret
	// Now is the clock for the expiry of tokens.
	Now func() time.Time
	// Observe is called before each token request, and what it returns is called
	// afterwards. Nil means that nobody observes.
	Observe func(ctx context.Context, grant string) (done func(TokenResult))
}

// TokenResult is how a token request ended.
type TokenResult struct {
	// Status is the HTTP status of the answer, or 0 if there was no answer.
	Status int
	// CorrelationID is TrueLayer's id of the call. It may be "".
	CorrelationID string
	// Err is nil if there is a token.
	Err *Error
}

// AuthorizationRequest holds the parameters of an auth link (RFC 6749 section
// 4.1.1 and TrueLayer's "Generate an auth link").
type AuthorizationRequest struct {
	RedirectURI string
	Scopes      []string
	Providers   []string
	// ProviderID selects one provider, so that visitors do not choose a bank.
	ProviderID string
	State      string
	// Verifier is the PKCE code verifier; the zero Secret leaves PKCE out.
	Verifier Secret
	// Params are further parameters, none of them one of the above.
	Params map[string]string
}

// AuthLink returns the URL to which a visitor is sent. Lists are joined by spaces.
// TrueLayer accepts each link once.
func (c *Client) AuthLink(a AuthorizationRequest) string {
	q := url.Values{
		"response_type": {"code"},
		"client_id":     {c.ID},
		"redirect_uri":  {a.RedirectURI},
		"scope":         {strings.Join(a.Scopes, " ")},
		"state":         {a.State},
	}
	if len(a.Providers) > 0 {
		q.Set("providers", strings.Join(a.Providers, " "))
	}
	if a.ProviderID != "" {
		q.Set("provider_id", a.ProviderID)
	}
	if challenge := Challenge(a.Verifier); challenge != "" {
		q.Set("code_challenge", challenge)
		q.Set("code_challenge_method", ChallengeMethod)
	}
	for name, value := range a.Params {
		q.Set(name, value)
	}
	return c.Server.base + "/?" + q.Encode()
}

// ChallengeMethod is the PKCE method of Challenge, the only one that TrueLayer takes.
const ChallengeMethod = "S256"

// Challenge returns the PKCE code challenge for a code verifier (RFC 7636 section 4.2). It
// is "" for the zero Secret.
func Challenge(verifier Secret) string {
	text := verifier.Reveal()
	if text == "" {
		return ""
	}
	challenge := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(challenge[:])
}

// Exchange sends the authorization code to the token endpoint, once (RFC 6749
// section 4.1.3). The client authenticates in the body, the only way that
// TrueLayer documents. The redirectURI is that of the auth link. The verifier may
// be the zero Secret. Every error is an *Error.
func (c *Client) Exchange(ctx context.Context, code, redirectURI string, verifier Secret) (Token, error) {
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"client_id":     {c.ID},
		"client_secret": {c.Secret.Reveal()},
		"redirect_uri":  {redirectURI},
		"code":          {code},
	}
	if v := verifier.Reveal(); v != "" {
		form.Set("code_verifier", v)
	}
	return c.requestToken(ctx, form)
}

// Refresh sends a refresh token to the token endpoint, once (RFC 6749 section
// 6). If the answer has a new refresh token, it replaces the one that was sent.
// Every error is an *Error.
func (c *Client) Refresh(ctx context.Context, refresh Secret) (Token, error) {
	return c.requestToken(ctx, url.Values{
		"grant_type":    {"refresh_token"},
		"client_id":     {c.ID},
		"client_secret": {c.Secret.Reveal()},
		"refresh_token": {refresh.Reveal()},
	})
}

// tokenEndpoint is what errors call the endpoint.
const tokenEndpoint = "token endpoint"

func (c *Client) requestToken(ctx context.Context, form url.Values) (Token, error) {
	done := c.observe(ctx, form.Get("grant_type"))
	token, result := c.sendForm(ctx, form)
	done(result)
	if result.Err != nil {
		return Token{}, result.Err
	}
	return token, nil
}

func (c *Client) observe(ctx context.Context, grant string) (done func(TokenResult)) {
	if c.Observe == nil {
		return func(TokenResult) {}
	}
	return c.Observe(ctx, grant)
}

func (c *Client) sendForm(ctx context.Context, form url.Values) (Token, TokenResult) {
	// taken before the request, so that a slow answer never makes a token look
	// younger than it is; truncated because the times in a token are whole
	// seconds (RFC 7519 section 2, NumericDate)
	sent := c.Now().Truncate(time.Second)
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	status, header, body, err := c.Server.post(ctx, "/connect/token", form)
	result := TokenResult{Status: status, CorrelationID: correlationID(header)}
	if err != nil {
		result.Err = NewError(tokenEndpoint, status, header, err)
		result.Err.Unsent = !connected.Load()
		return Token{}, result
	}
	if status != http.StatusOK {
		result.Err = ReadError(tokenEndpoint, status, header, body, c.Now())
		return Token{}, result
	}
	token, err := readToken(body, sent)
	if err != nil {
		result.Err = NewError(tokenEndpoint, status, header, err)
	}
	return token, result
}

// ErrUnknownToken is the error of Disconnect if TrueLayer does not know the access token: its
// connection has ended, or a refresh has replaced it.
var ErrUnknownToken = errors.New("disconnecting: TrueLayer does not know the access token")

// Disconnect ends a connection at TrueLayer, by "DELETE /api/delete" with the
// user's access token.
func (c *Client) Disconnect(ctx context.Context, access Secret) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.Server.base+"/api/delete", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+access.Reveal())
	status, _, _, err := c.Server.do(req)
	if err != nil {
		return err
	}
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnknownToken
	case status/100 != 2:
		return fmt.Errorf("disconnecting: TrueLayer answered with status %d", status)
	}
	return nil
}
