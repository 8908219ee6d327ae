package authserver

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxAccessToken  = 16 << 10
	maxRefreshToken = 4 << 10
	maxScope        = 2 << 10
	// MaxRetryAfter is the longest time to wait because a server asks for it.
	MaxRetryAfter = 5 * time.Minute
	// maxExpiresIn is far longer than any real lifetime. It prevents overflows.
	maxExpiresIn = 366 * 24 * 60 * 60
	// usualLifetime is how long TrueLayer's access tokens last.
	usualLifetime = time.Hour
)

// Token is a successful answer of the token endpoint (RFC 6749 section 5.1).
type Token struct {
	Access Secret
	// Refresh is the zero Secret if the answer has no refresh token.
	Refresh Secret
	// Issued is when the access token was requested. Expires is when it expires.
	Issued, Expires time.Time
	// ExpiresBy names the source of Expires: "expires_in" of the answer, "exp" of
	// the access token, or else the "usual lifetime".
	ExpiresBy string
	// Scopes are the granted scopes. They are nil if the answer names none, which
	// means that all requested scopes were granted.
	Scopes []string
	// Claims are the unverified claims of the access token.
	Claims Claims
}

// readToken reads a token answer. It is strict: it accepts only what RFC 6749
// section 5.1 and TrueLayer's description of the endpoint allow, so no other
// answer counts as a success. It ignores unknown members, as section 5.1
// requires. No error repeats any part of the answer.
func readToken(body []byte, sent time.Time) (Token, error) {
	members, err := readObject(body)
	if err != nil {
		return Token{}, err
	}
	access, err := readString(members, "access_token", maxAccessToken)
	if err != nil {
		return Token{}, err
	}
	if access == "" {
		return Token{}, errors.New("the answer has no access_token")
	}
	tokenType, err := readString(members, "token_type", 32)
	if err != nil {
		return Token{}, err
	}
	if !strings.EqualFold(tokenType, "bearer") {
		return Token{}, errors.New("the answer's token_type is not bearer")
	}
	refresh, err := readString(members, "refresh_token", maxRefreshToken)
	if err != nil {
		return Token{}, err
	}
	scope, err := readString(members, "scope", maxScope)
	if err != nil {
		return Token{}, err
	}
	token := Token{
		Access: NewSecret(access),
		Issued: sent,
		Scopes: strings.Fields(scope),
		Claims: readClaims(access),
	}
	if err := token.readExpiry(members["expires_in"]); err != nil {
		return Token{}, err
	}
	if refresh != "" {
		token.Refresh = NewSecret(refresh)
	}
	if len(token.Scopes) == 0 {
		token.Scopes = nil
	}
	return token, nil
}

// readExpiry sets when the token expires. RFC 6749 section 5.1 recommends but does
// not require expires_in. It must be a whole number of seconds, which some
// servers write as 3600.0 or "3600".
func (t *Token) readExpiry(expiresIn json.RawMessage) error {
	if expiresIn != nil && string(expiresIn) != "null" {
		seconds, ok := readNumber(expiresIn)
		if !ok || seconds < 1 || seconds > maxExpiresIn || seconds != math.Trunc(seconds) {
			return errors.New("the answer's expires_in is not a whole number of seconds of at most a year")
		}
		t.Expires, t.ExpiresBy = t.Issued.Add(time.Duration(seconds)*time.Second), "expires_in"
		return nil
	}
	t.Expires, t.ExpiresBy = t.Claims.expires, "exp"
	if lasts := t.Expires.Sub(t.Issued); lasts <= 0 || lasts > maxExpiresIn*time.Second {
		t.Expires, t.ExpiresBy = t.Issued.Add(usualLifetime), "usual lifetime"
	}
	return nil
}

// readRetryAfter reads the field Retry-After, a number of seconds or a date. A
// date is compared with the answer's own Date if it has one, since the server's
// clock may be wrong.
func readRetryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), int(MaxRetryAfter/time.Second))) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return min(max(until.Sub(now), 0), MaxRetryAfter)
}

func correlationID(header http.Header) string {
	if id := header.Get("X-Tl-Correlation-Id"); len(id) <= 64 && isLogSafe(id) {
		return id
	}
	return ""
}

// isLogSafe reports whether s consists of ASCII letters, digits, '-', '_' and '.',
// and is not empty.
func isLogSafe(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}
