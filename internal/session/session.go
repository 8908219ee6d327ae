package session

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// Session is a visitor's session, as it was read from a record in the store. It is
// immutable: a changed body is sealed into a new record.
type Session struct {
	body
	id     string
	secret Secret
	record []byte
}

// body is the part of a session's record that is encrypted.
type body struct {
	created     time.Time
	lastSeen    time.Time
	tokenIssued time.Time
	// TokenExpires is when the access token expires.
	TokenExpires time.Time
	// ConsentEnds is when the consent ends, after which nothing is forwarded.
	ConsentEnds time.Time

	// consentOver says that the auth server has ended the consent. The session can be
	// used until its access token expires. After that it is kept without tokens until
	// the visitor has been told.
	consentOver bool
	// Told says that the visitor has been told.
	Told bool
	// randomConnection says that Connection is a random id.
	randomConnection bool

	// Connection is TrueLayer's id of the connection, or a random one.
	Connection string
	// Provider is the id of the bank, "" if TrueLayer did not name it.
	Provider string
	// Scopes are the granted scopes, separated by spaces.
	Scopes string

	// bearer is BearerPrefix and the access token, which is how the token is sent, so
	// that the header field's value needs no allocation. It is the zero Secret if
	// there is no token.
	bearer       authserver.Secret
	refreshToken authserver.Secret // the zero Secret if there is none

	// Kept is what the session's users keep with it, see Keep. It is "" if they keep
	// nothing.
	Kept string
}

// ConsentIsOver reports whether the auth server has ended the consent. The session may go
// on until its access token expires.
func (s *Session) ConsentIsOver() bool { return s.consentOver }

// Began returns when the session began.
func (s *Session) Began() time.Time { return s.created }

// LastUsed returns when the session's use was last noted.
func (s *Session) LastUsed() time.Time { return s.lastSeen }

// ID is the id of the session's record. It is not secret, and belongs into no log.
func (s *Session) ID() string { return s.id }

// ShortID identifies the session in logs: the first 16 hex digits of its record's id.
// Nobody can compute the cookie's secret from it.
func (s *Session) ShortID() string { return ShortID(s.id) }

// ShortID is Session.ShortID of the session with an id.
func ShortID(id string) string { return hex.EncodeToString([]byte(id[:min(len(id), 8)])) }

// BearerPrefix precedes the token in Bearer's result.
const BearerPrefix = "Bearer "

// Bearer returns BearerPrefix and the access token, "" if there is no token.
func (b *body) Bearer() string { return b.bearer.Reveal() }

// AccessToken returns the access token. It is the zero Secret if there is none.
func (b *body) AccessToken() authserver.Secret {
	if bearer := b.bearer.Reveal(); bearer != "" {
		return authserver.NewSecret(bearer[len(BearerPrefix):])
	}
	return authserver.Secret{}
}

// setAccessToken sets the access token.
func (b *body) setAccessToken(access authserver.Secret) {
	b.bearer = authserver.NewSecret(BearerPrefix + access.Reveal())
}

// tokenEnds returns from when on the access token is no longer sent. That is a little
// before it expires, so that it does not expire on its way.
func (b *body) tokenEnds() time.Time {
	return b.TokenExpires.Add(-min(time.Second, b.TokenExpires.Sub(b.tokenIssued)/20))
}

// hasLiveToken reports whether there is an access token that can be sent.
func (b *body) hasLiveToken(now time.Time) bool {
	return b.Bearer() != "" && now.Before(b.tokenEnds())
}

// IsOver reports whether the connection has ended, so that the session can no longer be
// used and exists only to tell the visitor. Once the token has been removed that is
// final, whatever the clock says.
func (b *body) IsOver(now time.Time) bool {
	return b.Bearer() == "" || !now.Before(b.ConsentEnds) || (b.consentOver && !now.Before(b.tokenEnds()))
}

// applyToken stores a newly issued token in the body. If the token endpoint returned no
// new refresh token, the old one stays.
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
