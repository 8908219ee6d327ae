package authserver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// maxKeySet is the largest key set to accept. A real one has a few KB.
	maxKeySet = 256 << 10
	// keySetInterval is the shortest time between two fetches of the key set.
	// Otherwise, every token with an unknown key id or a wrong signature would
	// cause a fetch.
	keySetInterval = time.Minute
)

// ErrKeysUnavailable means that a token could not be checked because the key set
// could not be fetched.
var ErrKeysUnavailable = errors.New("the key set for verify_access_token could not be fetched")

// Verifier checks access tokens as RFC 9068 describes them against a JSON Web Key
// Set. It fetches the set when it first needs it, and again if the set lacks a
// token's key.
type Verifier struct {
	keys     *keySetTransport
	issuer   string
	clientID string
	now      func() time.Time
	tokens   *oidc.IDTokenVerifier
}

// NewVerifier returns a Verifier for tokens that issuer issued to clientID. It
// makes no call.
func NewVerifier(keySetURL, issuer, clientID string, now func() time.Time) *Verifier {
	v := &Verifier{
		keys:     &keySetTransport{http: newHTTPClient(), now: now},
		issuer:   issuer,
		clientID: clientID,
		now:      now,
	}
	// go-oidc uses this context only to find its HTTP client
	ctx := oidc.ClientContext(context.Background(), &http.Client{Transport: v.keys})
	v.tokens = oidc.NewVerifier(issuer, keySet{oidc.NewRemoteKeySet(ctx, keySetURL), v.keys}, &oidc.Config{
		// the audience of an access token is the API; checkClaims checks the client
		SkipClientIDCheck:    true,
		SkipIssuerCheck:      true, // checkClaims checks it, and names a remedy
		SupportedSigningAlgs: []string{oidc.RS256, oidc.PS256, oidc.ES256},
		Now:                  now,
	})
	return v
}

// CloseIdleConnections closes the connections that no fetch is using.
func (v *Verifier) CloseIdleConnections() { v.keys.http.CloseIdleConnections() }

// Verify checks the type, signature, issuer, times and client of an access token.
// The error wraps ErrKeysUnavailable if the token could not be checked. It never
// repeats the token.
func (v *Verifier) Verify(ctx context.Context, access Secret) error {
	raw := access.Reveal()
	if !isAccessTokenJWT(raw) {
		return errors.New("the access token is not a JWT of type at+jwt (RFC 9068 section 2.1)")
	}
	var s signatureCheck
	token, err := v.tokens.Verify(context.WithValue(ctx, signatureCheckKey{}, &s), raw)
	if s.unavailable != nil {
		return s.unavailable
	}
	if err != nil {
		return errors.New("checking the access token: " + s.describe(err))
	}
	return v.checkClaims(token)
}

// clockSkew is how far the auth server's clock may be ahead. go-oidc allows the
// same for nbf.
const clockSkew = 5 * time.Minute

// checkClaims checks the claims that go-oidc does not check. The signature has
// already been verified.
func (v *Verifier) checkClaims(token *oidc.IDToken) error {
	var payload json.RawMessage
	_ = token.Claims(&payload) // go-oidc has already parsed it
	clientID := ""
	members, err := readObject(payload)
	if err == nil {
		clientID, err = readString(members, "client_id", 1<<10)
	}
	if err != nil {
		return errors.New("checking the access token: its claims cannot be read")
	}
	if token.Issuer != v.issuer {
		return fmt.Errorf("checking the access token: its issuer is %q, not %q; check the option issuer", plain(token.Issuer), v.issuer)
	}
	if clientID != v.clientID {
		return errors.New("checking the access token: it was given to another client_id")
	}
	if token.IssuedAt.After(v.now().Add(clockSkew)) {
		return errors.New("checking the access token: it was issued in the future; check the clocks")
	}
	return nil
}

// isAccessTokenJWT reports whether a token is a JWT whose type is that of an access
// token. Other JWTs signed with the same key must not pass as access tokens. White
// space is refused. A JWT has none (RFC 7515 section 2), and parsers differ in
// how they treat it, so they might read different claims.
func isAccessTokenJWT(raw string) bool {
	if strings.ContainsFunc(raw, unicode.IsSpace) {
		return false
	}
	typ := strings.TrimPrefix(strings.ToLower(readHeader(raw).Type), "application/")
	return typ == "at+jwt"
}

// jwtHeader has the fields of a JWT's header that are used (RFC 7515 section 4.1).
type jwtHeader struct{ Type, KeyID string }

// readHeader returns a JWT's header. It returns the zero header if the header is
// malformed or ambiguous. encoding/json would take "TYP" for "typ".
func readHeader(raw string) jwtHeader {
	head, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return jwtHeader{}
	}
	members, err := readObject(decoded)
	if err != nil {
		return jwtHeader{}
	}
	typ, typErr := readString(members, "typ", 64)
	keyID, idErr := readString(members, "kid", 256)
	if typErr != nil || idErr != nil {
		return jwtHeader{}
	}
	return jwtHeader{typ, keyID}
}

// signatureCheck is the result of the check of a signature. go-oidc's verifier
// returns it only as text, which repeats parts of the token and of the key set.
type signatureCheck struct {
	checked     bool
	valid       bool
	unavailable error // why there were no keys, if so
}

// signatureCheckKey is the context key of the signatureCheck that keySet fills in.
type signatureCheckKey struct{}

// describe returns why go-oidc refused a token.
func (s *signatureCheck) describe(err error) string {
	if _, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return "it has expired"
	}
	switch {
	case !s.checked:
		return "it is malformed, or signed with none of RS256, PS256 and ES256"
	case !s.valid:
		return "the signature is wrong, or its key is not in the key set"
	}
	return "its claims cannot be read, or it is not yet valid; check the clocks"
}

// keySet distinguishes a wrong signature from one that could not be checked.
type keySet struct {
	remote    *oidc.RemoteKeySet
	transport *keySetTransport
}

func (k keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.remote.VerifySignature(ctx, jwt)
	s, ok := ctx.Value(signatureCheckKey{}).(*signatureCheck)
	if !ok {
		return payload, err
	}
	s.checked, s.valid = true, err == nil
	// go-oidc wraps an error only if it could not get the keys. If it was refused a
	// fetch because the last one was recent, and that one had the token's key, the
	// signature is wrong: another fetch would have changed nothing.
	cause := errors.Unwrap(err)
	if cause == nil || (errors.Is(err, errFetchedRecently) && k.transport.has(readHeader(jwt).KeyID)) {
		return payload, err
	}
	s.unavailable = ErrKeysUnavailable
	switch call, ok := errors.AsType[*url.Error](cause); {
	case ok:
		s.unavailable = fmt.Errorf("%w: %w", ErrKeysUnavailable, call)
	case ctx.Err() != nil:
		s.unavailable = fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
	default: // the answer is malformed, and go-oidc's error repeats all of it
		s.unavailable = fmt.Errorf("%w: the answer is not a key set", ErrKeysUnavailable)
		k.transport.forget()
	}
	return payload, err
}

// keySetTransport limits how much go-oidc reads and how often it fetches. Its
// errors wrap ErrKeysUnavailable, so they differ from those of a wrong token.
type keySetTransport struct {
	http *httpClient
	now  func() time.Time

	mu        sync.Mutex
	notBefore time.Time       // of the next fetch
	keyIDs    map[string]bool // of the set that was fetched last
}

var errFetchedRecently = fmt.Errorf("%w: it was fetched less than a minute ago", ErrKeysUnavailable)

func (t *keySetTransport) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	t.mu.Lock()
	defer t.mu.Unlock() // held during the fetch, since go-oidc makes one at a time
	if t.now().Before(t.notBefore) {
		return nil, errFetchedRecently
	}
	return t.fetch(req)
}

// has reports whether the last fetched set has the key.
func (t *keySetTransport) has(keyID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keyIDs[keyID]
}

// forget allows another fetch, after an answer that is not a key set.
func (t *keySetTransport) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keyIDs, t.notBefore = nil, time.Time{}
}

func (t *keySetTransport) fetch(req *http.Request) (*http.Response, error) {
	status, header, body, err := t.http.do(req, maxKeySet)
	if err != nil {
		if call, ok := errors.AsType[*url.Error](err); ok {
			err = call.Err // go-oidc's HTTP client adds the URL again
		}
		return nil, errors.Join(ErrKeysUnavailable, err)
	}
	if status != http.StatusOK || !json.Valid(body) {
		return nil, fmt.Errorf("%w: unexpected answer with status %d", ErrKeysUnavailable, status)
	}
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("%w: the answer is not a key set", ErrKeysUnavailable)
	}
	t.keyIDs = make(map[string]bool, len(set.Keys))
	for _, key := range set.Keys {
		t.keyIDs[key.ID] = true
	}
	t.notBefore = t.now().Add(keySetInterval)
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, nil
}
