package authserver

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxConsent is the year 2286: what lies beyond is no time in Unix seconds.
const maxConsent = 1e10

// Claims are what TrueLayer writes into its access tokens, as far as anybody
// outside is told. They are read without a check of the signature: the token
// came straight from the token endpoint, and nothing that protects anything is
// decided by them.
type Claims struct {
	// Subject is TrueLayer's id of the connection ("sub", the credentials id).
	Subject string
	// Provider is the bank ("connector_id"), such as "ob-monzo".
	Provider string
	// ConsentEnds is when the consent is over ("consent_expiry_time"); zero if
	// the token does not say.
	ConsentEnds time.Time
}

// readClaims returns the zero Claims for a token that is not a JWT: an access
// token is opaque to a client (RFC 6749 section 1.4).
func readClaims(access string) Claims {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return Claims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}
	}
	var c struct {
		Subject  string  `json:"sub"`
		Provider string  `json:"connector_id"`
		Consent  float64 `json:"consent_expiry_time"`
	}
	if json.Unmarshal(payload, &c) != nil {
		return Claims{}
	}
	claims := Claims{Subject: plain(c.Subject), Provider: plain(c.Provider)}
	if c.Consent > 0 && c.Consent < maxConsent {
		claims.ConsentEnds = time.Unix(int64(c.Consent), 0)
	}
	return claims
}

// plain lets a claim through only if it can stand in a header field or a log.
func plain(s string) string {
	if len(s) > 128 {
		return ""
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return ""
		}
	}
	return s
}
