package session

import (
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// Session is a visitor's bank connection as a record in the store had it. It is
// never changed: a changed body is sealed anew, into another record.
type Session struct {
	body
	id     string
	secret Secret
	record []byte
}

// body is what is sealed of a session.
type body struct {
	created     time.Time
	lastSeen    time.Time
	tokenIssued time.Time
	// TokenExpires is when the access token expires.
	TokenExpires time.Time
	// ConsentEnds is when the consent ends, after which nothing is forwarded.
	ConsentEnds time.Time

	// consentOver says that the auth server has ended the consent: the session lasts
	// until its access token does, and then stays without tokens to tell the visitor.
	consentOver bool
	// Told says that the visitor has been told.
	Told bool
	// invented says that Connection is a random id.
	randomConnection bool

	// Connection is TrueLayer's id of the connection, or a random one.
	Connection string
	// Provider is the bank, "" if TrueLayer did not name it.
	Provider string
	// Scopes are the granted scopes, separated by spaces.
	Scopes string

	// bearer is the access token behind BearerPrefix, which is how it is sent: the
	// header field's value is then cut out of the record whole. The zero Secret
	// if there is none.
	bearer       authserver.Secret
	refreshToken authserver.Secret // the zero Secret if there is none
}

// BearerPrefix is what stands before the token in Bearer's result.
const BearerPrefix = "Bearer "

// Bearer returns the access token behind BearerPrefix, "" if there is none.
func (b *body) Bearer() string { return b.bearer.Reveal() }

// accessToken returns the access token, the zero Secret if there is none.
func (b *body) accessToken() authserver.Secret {
	if bearer := b.bearer.Reveal(); bearer != "" {
		return authserver.NewSecret(bearer[len(BearerPrefix):])
	}
	return authserver.Secret{}
}

// setToken puts an access token into the session.
func (b *body) setAccessToken(access authserver.Secret) {
	b.bearer = authserver.NewSecret(BearerPrefix + access.Reveal())
}

// tokenEnds is when the access token is no longer sent: a little before it
// expires, so that it does not do so on its way.
func (b *body) tokenEnds() time.Time {
	return b.TokenExpires.Add(-min(time.Second, b.TokenExpires.Sub(b.tokenIssued)/20))
}

// IsOver reports whether the connection can no longer be used, so that all that
// is left is to tell the visitor. Once its token is gone no clock brings it back.
func (b *body) IsOver(now time.Time) bool {
	return b.Bearer() == "" || !now.Before(b.ConsentEnds) || (b.consentOver && !now.Before(b.tokenEnds()))
}

// take puts a token that was just issued into the session. An answer without a
// refresh token leaves the one that was used.
func (b *body) applyToken(token authserver.Token) {
	b.tokenIssued, b.TokenExpires = token.Issued, token.Expires
	b.setAccessToken(token.Access)
	if token.Refresh.Reveal() != "" {
		b.refreshToken = token.Refresh
	}
	if token.Scopes != nil {
		b.Scopes = strings.Join(token.Scopes, " ")
	}
	if !token.Claims.ConsentEnds.IsZero() {
		b.ConsentEnds = token.Claims.ConsentEnds
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
