package tlapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// RenewalLinkRequest asks for a link with which a user renews a connection at its bank. The
// bank, the scopes and the client are those of the connection.
type RenewalLinkRequest struct {
	// Refresh is the connection's refresh token.
	Refresh     authserver.Secret
	RedirectURI string
	State       string
	// Verifier is the PKCE code verifier; the zero Secret leaves PKCE out.
	Verifier authserver.Secret
}

// MarshalJSON writes the request as TrueLayer's description has it.
func (q *RenewalLinkRequest) MarshalJSON() ([]byte, error) {
	body := map[string]string{
		"response_type": "code", "refresh_token": q.Refresh.Reveal(), "redirect_uri": q.RedirectURI, "state": q.State,
	}
	if challenge := authserver.Challenge(q.Verifier); challenge != "" {
		body["code_challenge"], body["code_challenge_method"] = challenge, authserver.ChallengeMethod
	}
	return json.Marshal(body)
}

// RequestRenewalLink asks for a link that renews a connection, once, with "POST
// /v1/reauthuri". Its errors are those of RequestBankLink.
func RequestRenewalLink(ctx context.Context, server *authserver.Server, q *RenewalLinkRequest, now func() time.Time) (link string, err error) {
	return requestLink(ctx, server, "/v1/reauthuri", q, now)
}
