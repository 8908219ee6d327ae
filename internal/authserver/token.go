package authserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	// MaxRetryAfter is the longest that a server is left alone.
	MaxRetryAfter = 5 * time.Minute
	// maxExpiresIn is far beyond any real lifetime; it keeps arithmetic safe.
	maxExpiresIn = 366 * 24 * 60 * 60
	// usualLifetime is how long TrueLayer's access tokens last.
	usualLifetime = time.Hour
)

// Token is a successful answer of the token endpoint (RFC 6749 section 5.1).
type Token struct {
	Access Secret
	// Refresh is the zero Secret when the answer had none.
	Refresh Secret
	// Issued is when it was asked for, Expires when it ends.
	Issued, Expires time.Time
	// ExpiresBy is what says when it ends: the answer's "expires_in", else the
	// access token's "exp", else its "usual lifetime".
	ExpiresBy string
	// Scopes are the granted ones; nil when the answer names none, which
	// means: as asked.
	Scopes []string
	// Claims are what the access token says of itself, unverified.
	Claims Claims
}

// readToken reads a token answer strictly: what it accepts is what RFC 6749
// section 5.1 and TrueLayer's description of the endpoint allow, so that an
// answer of another shape is never taken for a success. Unknown members are
// ignored, as section 5.1 demands. No error repeats any of the answer.
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

// readExpiry finds out when the token ends. RFC 6749 section 5.1 only recommends
// that an answer says so. What it says must be a whole number of seconds, which
// some servers write as 3600.0 or "3600".
func (t *Token) readExpiry(expiresIn json.RawMessage) error {
	if expiresIn != nil && string(expiresIn) != "null" {
		seconds, ok := readNumber(expiresIn)
		if !ok || seconds < 1 || seconds > maxExpiresIn || seconds != math.Trunc(seconds) {
			return errors.New("the answer's expires_in is not a sane positive integer")
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

// readObject splits a JSON object into its members. encoding/json alone would
// take the last of two members of a name and match names in any case.
func readObject(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errNotJSON
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errNotJSON
		}
		name, _ := key.(string)
		if _, twice := members[name]; twice {
			return nil, errors.New("the answer has a member twice")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errNotJSON
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errNotJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return members, nil
}

// readString returns a member that is a string of visible ASCII characters and
// spaces (the VSCHAR of RFC 6749 appendix A; it is what a header field can
// carry), or "" when it is absent or null.
func readString(members map[string]json.RawMessage, name string, limit int) (string, error) {
	raw, ok := members[name]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fmt.Errorf("the answer's %s is not a string", name)
	}
	if len(value) > limit {
		return "", fmt.Errorf("the answer's %s is longer than %d characters", name, limit)
	}
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c > 0x7e || (c == ' ' && name != "scope") {
			return "", fmt.Errorf("the answer's %s has a character that RFC 6749 does not allow", name)
		}
	}
	return value, nil
}

// readError reads an error answer (RFC 6749 section 5.2). TrueLayer stands
// behind a content delivery network, so the body may as well be HTML.
func readError(status int, header http.Header, body []byte, now time.Time) *Error {
	e := &Error{Status: status, CorrelationID: correlationID(header), RetryAfter: readRetryAfter(header, now)}
	members, err := readObject(body)
	if err == nil {
		e.Code, err = readString(members, "error", 64)
	}
	if err != nil || !isToken(e.Code) {
		e.Code = ""
		e.cause = fmt.Errorf("answered %d without a readable error code", status)
	}
	return e
}

// readRetryAfter reads a number of seconds or a date, which counts from the
// answer's own date if it has one: the server's clock need not be right.
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
	if id := header.Get("X-Tl-Correlation-Id"); len(id) <= 64 && isToken(id) {
		return id
	}
	return ""
}

// isToken reports whether s is short plain text that is safe in a log.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}
