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
	"strings"
	"sync"
	"time"

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
	http     *http.Client
	clientID string
	tokens   *oidc.IDTokenVerifier
}

// NewVerifier returns a Verifier for tokens that issuer gave to clientID. It
// makes no call.
func NewVerifier(keySetURL, issuer, clientID string, now func() time.Time) *Verifier {
	client := newHTTPClient()
	transport := &keySetTransport{next: client.Transport, now: now}
	v := &Verifier{
		http:     &http.Client{Transport: transport, Timeout: client.Timeout, CheckRedirect: client.CheckRedirect},
		clientID: clientID,
	}
	// go-oidc takes its HTTP client from a context and ignores the rest of it
	ctx := oidc.ClientContext(context.Background(), v.http)
	v.tokens = oidc.NewVerifier(issuer, keySet{oidc.NewRemoteKeySet(ctx, keySetURL), transport}, &oidc.Config{
		// the audience of an access token is the API; the client is checked below
		SkipClientIDCheck:    true,
		SupportedSigningAlgs: []string{oidc.RS256, oidc.PS256, oidc.ES256},
		Now:                  now,
	})
	return v
}

// CloseIdleConnections closes the connections that no fetch is using.
func (v *Verifier) CloseIdleConnections() { v.http.CloseIdleConnections() }

// Verify checks type, signature, issuer, time and client of an access token.
// The error is ErrKeysUnavailable, wrapped, when it could not be checked at
// all; it never repeats the token.
func (v *Verifier) Verify(ctx context.Context, access Secret) error {
	raw := access.Reveal()
	if !isAccessTokenJWT(raw) {
		return errors.New("the access token is not a JWT of type at+jwt (RFC 9068 section 2.1)")
	}
	var unavailable error
	token, err := v.tokens.Verify(context.WithValue(ctx, unavailableKey{}, &unavailable), raw)
	if unavailable != nil {
		return unavailable
	}
	if err != nil {
		return fmt.Errorf("checking the access token: %w", err)
	}
	var claims struct {
		ClientID string `json:"client_id"`
	}
	if err := token.Claims(&claims); err != nil {
		return errors.New("checking the access token: its claims cannot be read")
	}
	if claims.ClientID != v.clientID {
		return errors.New("checking the access token: it was given to another client_id")
	}
	return nil
}

// isAccessTokenJWT looks at the header's type, which keeps other kinds of JWT
// that the same key signs from passing as access tokens.
func isAccessTokenJWT(raw string) bool {
	typ := strings.TrimPrefix(strings.ToLower(readHeader(raw).Type), "application/")
	return typ == "at+jwt"
}

// jwtHeader is what is read of a JWT's header (RFC 7515 section 4.1).
type jwtHeader struct {
	Type  string `json:"typ"`
	KeyID string `json:"kid"`
}

// readHeader returns the zero header if there is none.
func readHeader(raw string) (header jwtHeader) {
	head, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || json.Unmarshal(decoded, &header) != nil {
		return jwtHeader{}
	}
	return header
}

// unavailableKey is the context key of the place where keySet reports that it
// had no keys to check with.
type unavailableKey struct{}

// keySet tells a signature that is wrong from one that could not be checked;
// go-oidc's verifier flattens both into text.
type keySet struct {
	remote    *oidc.RemoteKeySet
	transport *keySetTransport
}

func (k keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.remote.VerifySignature(ctx, jwt)
	if errors.Is(err, errFetchedLately) && k.transport.has(readHeader(jwt).KeyID) {
		// its key was there, so another look would have changed nothing
		return nil, errors.New("the signature is wrong")
	}
	if errors.Is(err, ErrKeysUnavailable) || (err != nil && ctx.Err() != nil) {
		if place, ok := ctx.Value(unavailableKey{}).(*error); ok {
			*place = fmt.Errorf("%w: %v", ErrKeysUnavailable, err)
		}
	}
	return payload, err
}

// keySetTransport bounds what go-oidc would read without end and how often, and
// marks every failure so that it can be told from a token that is wrong.
type keySetTransport struct {
	next http.RoundTripper
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

func (t *keySetTransport) fetch(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, errors.Join(ErrKeysUnavailable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, errors.Join(ErrKeysUnavailable, err)
	}
	if resp.StatusCode != http.StatusOK || len(body) > maxKeySet || !json.Valid(body) {
		return nil, fmt.Errorf("%w: unexpected answer with status %d", ErrKeysUnavailable, resp.StatusCode)
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
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
