package authserver

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxTime is the year 2286: what lies beyond is no time in Unix seconds.
const maxTime = 1e10

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

	// expires is when the token ends ("exp"); zero if it does not say.
	expires time.Time
}

// readClaims returns the zero Claims for a token that is not a JWT: an access
// token is opaque to a client (RFC 6749 section 1.4). Each claim is read for
// itself, so that one in a form of its own takes no other with it.
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

// readPlain returns a string that is plain, "" for anything else.
func readPlain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return plain(text)
}

// readTime returns a time in Unix seconds (RFC 7519 section 2, NumericDate), as
// a number or as a string of one, or in the form of RFC 3339, which TrueLayer's
// API has for the same times. Anything else is the zero time.
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

// readNumber returns a number, or the number that a string consists of.
func readNumber(raw json.RawMessage) (float64, bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text != "" {
		raw = json.RawMessage(text)
	}
	var number *float64 // nil for null, which leaves a number as it is
	if json.Unmarshal(raw, &number) != nil || number == nil {
		return 0, false
	}
	return *number, true
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
