package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// connection is a person's consent for one application to read some accounts
// at one bank. It is created together with the authorization code. The
// simulator's mu guards it.
type connection struct {
	seed      [32]byte // the subject in binary; other ids are derived from it
	sessionID string
	client    Client
	scopes    []string
	bank      bank
	person    person
	accounts  []account
	consent   *AuthURIRequest // if the application collected it
	began     time.Time
	ends      time.Time
	ended     bool // the consent was revoked, or an old refresh token came back

	refreshToken string    // the valid one; empty if there is none
	refreshUsed  time.Time // when it was last used, or issued
	latestToken  string    // the jti of the last access token
}

// authorization is what an authorization code is exchanged for.
type authorization struct {
	connection  *connection
	redirectURI string
	challenge   string
}

// subject returns the stable id of the connection, which other answers call
// credentials_id.
func (c *connection) subject() string {
	return base64.StdEncoding.EncodeToString(c.seed[:])
}

func (c *connection) derive(label string) [32]byte {
	return sha256.Sum256(append([]byte(label), c.seed[:]...))
}

func (c *connection) derivedUUID(label string) string {
	d := c.derive(label)
	return uuidFrom([16]byte(d[:16]))
}

// over reports whether the consent has ended.
func (c *connection) over(now time.Time) bool {
	return c.ended || !now.Before(c.ends)
}

func (c *connection) has(scope string) bool {
	return slices.Contains(c.scopes, scope)
}

// claims is the payload of an access token.
type claims struct {
	NotBefore      int64    `json:"nbf"`
	Expires        int64    `json:"exp"`
	Issuer         string   `json:"iss"`
	Audience       string   `json:"aud"`
	ClientID       string   `json:"client_id"`
	Subject        string   `json:"sub"`
	AuthTime       int64    `json:"auth_time"`
	IDP            string   `json:"idp"`
	TokenID        string   `json:"jti"`
	SessionID      string   `json:"sid"`
	IssuedAt       int64    `json:"iat"`
	ConnectorID    string   `json:"connector_id"`
	CredentialsKey string   `json:"credentials_key"`
	PrivacyPolicy  string   `json:"privacy_policy"`
	ConsentID      string   `json:"consent_id"`
	ConsentExpiry  int64    `json:"consent_expiry_time"`
	ConnectionID   string   `json:"connection_id"`
	Scope          []string `json:"scope"`
	Methods        []string `json:"amr"`
}

const privacyPolicy = "Feb2019"

// issued is an answer of the token endpoint before the access token is signed.
type issued struct {
	claims       claims
	refreshToken string
	scope        string
	lifetime     time.Duration
	cheaply      bool
}

// issue makes the next access token of a connection. The caller holds mu, and
// signs the token after unlocking it, because signing takes a millisecond.
func (s *Simulator) issue(c *connection, issuer string) issued {
	now := s.clock()
	granted := s.settings.GrantedScope
	if granted != "" && granted != "-" {
		c.scopes = strings.Fields(granted)
	}
	lifetime := min(s.settings.TokenLifetime, c.ends.Sub(now)).Truncate(time.Second)
	key := c.derive("credentials key")
	out := issued{
		lifetime: lifetime,
		cheaply:  s.settings.CheapSignatures,
		scope:    strings.Join(c.scopes, " "),
		claims: claims{
			NotBefore:      now.Unix(),
			Expires:        now.Add(lifetime).Unix(),
			Issuer:         issuer,
			Audience:       "data_api",
			ClientID:       c.client.ID,
			Subject:        c.subject(),
			AuthTime:       c.began.Unix(),
			IDP:            "local",
			TokenID:        newHex(16),
			SessionID:      c.sessionID,
			IssuedAt:       now.Unix(),
			ConnectorID:    c.bank.ID,
			CredentialsKey: lowerHex(key[:]),
			PrivacyPolicy:  privacyPolicy,
			ConsentID:      c.derivedUUID("consent"),
			ConsentExpiry:  c.ends.Unix(),
			ConnectionID:   c.derivedUUID("connection"),
			Scope:          c.scopes,
			Methods:        []string{"pwd"},
		},
	}
	if granted == "-" {
		out.scope = ""
	}
	c.latestToken = out.claims.TokenID
	return out
}

// giveRefreshToken makes a refresh token for the connection and stores it. An
// earlier one stays known, so that its reuse is detected.
func (s *Simulator) giveRefreshToken(c *connection) string {
	now := s.clock()
	c.refreshToken, c.refreshUsed = newHex(32), now
	s.refresh.put(c.refreshToken, c.subject(), now, c.ends.Add(reauthPeriod))
	return c.refreshToken
}
