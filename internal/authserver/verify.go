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
	// maxKeySet bounds the key set that is read; a real one is a few KB.
	maxKeySet = 256 << 10
	// keySetInterval is how long the set is left alone after it was fetched:
	// otherwise each token with an unknown key id, or a wrong signature, would
	// make it be fetched again.
	keySetInterval = time.Minute
)

// ErrKeysUnavailable says that the key set could not be had, so that nothing
// is known about the token.
var ErrKeysUnavailable = errors.New("the key set for verify_access_token could not be fetched")

// Verifier checks access tokens in the form of RFC 9068 against a JSON Web Key
// Set. The set is fetched when it is first needed and again for a key id that
// it lacks; in between it is cached.
type Verifier struct {
	keys     *keySetTransport
	issuer   string
	clientID string
	now      func() time.Time
	tokens   *oidc.IDTokenVerifier
}

// NewVerifier returns a Verifier for tokens that issuer gave to clientID. It
// makes no call.
func NewVerifier(keySetURL, issuer, clientID string, now func() time.Time) *Verifier {
	v := &Verifier{
		keys:     &keySetTransport{http: newHTTPClient(), now: now},
		issuer:   issuer,
		clientID: clientID,
		now:      now,
	}
	// go-oidc takes its HTTP client from a context and ignores the rest of it
	ctx := oidc.ClientContext(context.Background(), &http.Client{Transport: v.keys})
	v.tokens = oidc.NewVerifier(issuer, keySet{oidc.NewRemoteKeySet(ctx, keySetURL), v.keys}, &oidc.Config{
		// the audience of an access token is the API; the client is checked below
		SkipClientIDCheck:    true,
		SkipIssuerCheck:      true, // checked below too, with a remedy
		SupportedSigningAlgs: []string{oidc.RS256, oidc.PS256, oidc.ES256},
		Now:                  now,
	})
	return v
}

// CloseIdleConnections closes the connections that no fetch is using.
func (v *Verifier) CloseIdleConnections() { v.keys.http.CloseIdleConnections() }

// Verify checks type, signature, issuer, time and client of an access token.
// The error is ErrKeysUnavailable, wrapped, when it could not be checked at
// all; it never repeats the token.
func (v *Verifier) Verify(ctx context.Context, access Secret) error {
	raw := access.Reveal()
	if !isAccessTokenJWT(raw) {
		return errors.New("the access token is not a JWT of type at+jwt (RFC 9068 section 2.1)")
	}
	var s signature
	token, err := v.tokens.Verify(context.WithValue(ctx, signatureKey{}, &s), raw)
	if s.unavailable != nil {
		return s.unavailable
	}
	if err != nil {
		return errors.New("checking the access token: " + s.describe(err))
	}
	return v.checkClaims(token)
}

// clockSkew is by how much the auth server's clock may be ahead; go-oidc allows
// as much for nbf.
const clockSkew = 5 * time.Minute

// checkClaims checks what go-oidc does not. The claims are signed by now.
func (v *Verifier) checkClaims(token *oidc.IDToken) error {
	var payload json.RawMessage
	_ = token.Claims(&payload) // go-oidc has read it
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

// isAccessTokenJWT looks at the header's type, which keeps other kinds of JWT
// that the same key signs from passing as access tokens. White space, which a
// JWT has none of (RFC 7515 section 2), is dropped by some readers and not by
// others: they would not see the same claims.
func isAccessTokenJWT(raw string) bool {
	if strings.ContainsFunc(raw, unicode.IsSpace) {
		return false
	}
	typ := strings.TrimPrefix(strings.ToLower(readHeader(raw).Type), "application/")
	return typ == "at+jwt"
}

// jwtHeader is what is read of a JWT's header (RFC 7515 section 4.1).
type jwtHeader struct{ Type, KeyID string }

// readHeader returns the zero header if there is none that is unambiguous:
// encoding/json alone would take a "TYP" for a typ.
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

// signature is how the check of a signature went. go-oidc's verifier flattens
// that into text, which repeats parts of the token and of the key set.
type signature struct {
	checked     bool
	right       bool
	unavailable error // there were no keys to check with
}

// signatureKey is the context key of the place where keySet reports it.
type signatureKey struct{}

// describe says why go-oidc refused a token.
func (s *signature) describe(err error) string {
	if _, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return "it has expired"
	}
	switch {
	case !s.checked:
		return "it is malformed, or signed with none of RS256, PS256 and ES256"
	case !s.right:
		return "the signature is wrong, or its key is not in the key set"
	}
	return "its claims cannot be read, or it is not yet valid; check the clocks"
}

// keySet tells a signature that is wrong from one that could not be checked.
type keySet struct {
	remote    *oidc.RemoteKeySet
	transport *keySetTransport
}

func (k keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.remote.VerifySignature(ctx, jwt)
	s, ok := ctx.Value(signatureKey{}).(*signature)
	if !ok {
		return payload, err
	}
	s.checked, s.right = true, err == nil
	// go-oidc wraps what kept it from having the keys, and nothing when it had
	// them. That a token's key was there lately settles it as well: another look
	// would have changed nothing.
	cause := errors.Unwrap(err)
	if cause == nil || (errors.Is(err, errFetchedLately) && k.transport.has(readHeader(jwt).KeyID)) {
		return payload, err
	}
	s.unavailable = ErrKeysUnavailable
	switch call, ok := errors.AsType[*url.Error](cause); {
	case ok:
		s.unavailable = fmt.Errorf("%w: %w", ErrKeysUnavailable, call)
	case ctx.Err() != nil:
		s.unavailable = fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
	default: // the set could not be read, and go-oidc repeats all of it
		s.unavailable = fmt.Errorf("%w: the answer is no key set", ErrKeysUnavailable)
		k.transport.forget()
	}
	return payload, err
}

// keySetTransport bounds what go-oidc would read without end and how often, and
// marks every failure so that it can be told from a token that is wrong.
type keySetTransport struct {
	http *httpClient
	now  func() time.Time

	mu        sync.Mutex
	notBefore time.Time       // when it may be fetched again
	keyIDs    map[string]bool // of the set that was fetched last
}

var errFetchedLately = fmt.Errorf("%w: it was asked for a moment ago", ErrKeysUnavailable)

func (t *keySetTransport) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	t.mu.Lock()
	defer t.mu.Unlock() // go-oidc fetches once at a time anyway
	if t.now().Before(t.notBefore) {
		return nil, errFetchedLately
	}
	return t.fetch(req)
}

// has reports whether the set that was fetched last has the key.
func (t *keySetTransport) has(keyID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keyIDs[keyID]
}

// forget forgets a set that turned out to be none.
func (t *keySetTransport) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keyIDs, t.notBefore = nil, time.Time{}
}

func (t *keySetTransport) fetch(req *http.Request) (*http.Response, error) {
	status, header, body, err := t.http.do(req, maxKeySet)
	if err != nil {
		if call, ok := errors.AsType[*url.Error](err); ok {
			err = call.Err // go-oidc's client adds the address, too
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
		return nil, fmt.Errorf("%w: the answer is no key set", ErrKeysUnavailable)
	}
	t.keyIDs = make(map[string]bool, len(set.Keys))
	for _, key := range set.Keys {
		t.keyIDs[key.ID] = true
	}
	t.notBefore = t.now().Add(keySetInterval)
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, nil
}
