package authserver

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxTime is in the year 2286. A larger number is not a time in Unix seconds.
const maxTime = 1e10

// Claims are the publicly documented claims of TrueLayer's access tokens. They are
// read without a check of the signature: the token came directly from the token
// endpoint over TLS, which vouches for it (as in OpenID Connect Core section 3.1.3.7).
// `truelayer_require` decides by the provider.
type Claims struct {
	// Subject is TrueLayer's id of the connection ("sub", the credentials id).
	Subject string
	// Provider is the bank ("connector_id"), such as "ob-monzo".
	Provider string
	// ConsentEnds is when the consent ends ("consent_expiry_time"). It is zero
	// if the token does not say.
	ConsentEnds time.Time

	// expires is when the token expires ("exp"). It is zero if the token does
	// not say.
	expires time.Time
}

// readClaims returns the claims of an access token. It returns the zero Claims if
// the token is not a JWT, since an access token is opaque to a client (RFC 6749
// section 1.4). A claim in an unexpected form is omitted and does not affect the
// others.
func readClaims(access string) Claims {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return Claims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}
	}
	members, err := readObject(payload)
	if err != nil {
		return Claims{}
	}
	return Claims{
		Subject:     readPlain(members["sub"]),
		Provider:    readPlain(members["connector_id"]),
		ConsentEnds: readTime(members["consent_expiry_time"]),
		expires:     readTime(members["exp"]),
	}
}

// readPlain returns a claim that is a plain string, or "" for anything else.
func readPlain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return plain(text)
}

// readTime returns a claim that is a time: Unix seconds (RFC 7519 section 2,
// NumericDate), as a number or a string, or RFC 3339, which TrueLayer's API uses
// for the same times. It returns the zero time for anything else.
func readTime(raw json.RawMessage) time.Time {
	seconds, ok := readNumber(raw)
	if !ok {
		var text string
		_ = json.Unmarshal(raw, &text)
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return time.Time{}
		}
		seconds = float64(t.Unix())
	}
	if seconds <= 0 || seconds >= maxTime {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// plain returns s if it is safe in a header field and in a log, or else "".
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
