package simulator

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
)

// signingKey is an RSA key and the header of the tokens that it signs.
type signingKey struct {
	*rsa.PrivateKey
	id         string
	thumbprint string
	header     string // the JWT header, encoded
}

// firstKey returns the key with which every Simulator in the process starts.
// Generating a key takes longer than most tests. After RotateKeys, a simulator has
// its own key.
var firstKey = sync.OnceValue(newKey)

// newKey generates a key. It panics if crypto/rsa fails, which does not happen for
// this size.
func newKey() *signingKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(fmt.Sprintf("simulator: generate a signing key: %v", err))
	}
	// There is no certificate, so the thumbprint is that of the modulus.
	sum := sha256.Sum256(private.N.Bytes())
	key := &signingKey{
		PrivateKey: private,
		id:         fmt.Sprintf("%XRS256", sum[:20]),
		thumbprint: base64.RawURLEncoding.EncodeToString(sum[:20]),
	}
	key.header = segment(map[string]string{"alg": "RS256", "kid": key.id, "typ": "at+jwt", "x5t": key.thumbprint})
	return key
}

// keys holds the published keys. The first one signs.
type keys struct {
	mu        sync.RWMutex
	published []*signingKey
}

func (k *keys) rotate(key *signingKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.published = []*signingKey{key, k.published[0]}
}

func (k *keys) current() *signingKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.published[0]
}

func (k *keys) find(header string) (*signingKey, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, key := range k.published {
		if key.header == header {
			return key, true
		}
	}
	return nil, false
}

func (k *keys) sign(c claims, cheaply bool) (string, error) {
	key := k.current()
	content := key.header + "." + segment(c)
	if cheaply {
		return content + "." + encode(key.checksum(content)), nil
	}
	digest := sha256.Sum256([]byte(content))
	signature, err := rsa.SignPKCS1v15(nil, key.PrivateKey, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign an access token: %w", err)
	}
	return content + "." + encode(signature), nil
}

var errNotOurs = errors.New("the access token is malformed or its signature is wrong: send one this simulator issued")

// verify checks a token's signature and returns its claims. It does not check the
// claims, not even the times.
func (k *keys) verify(token string) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, errNotOurs
	}
	key, ok := k.find(parts[0])
	if !ok {
		return claims{}, errNotOurs
	}
	content := parts[0] + "." + parts[1]
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return claims{}, errNotOurs
	}
	digest := sha256.Sum256([]byte(content))
	if !hmac.Equal(signature, key.checksum(content)) &&
		rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature) != nil {
		return claims{}, errNotOurs
	}
	var c claims
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return claims{}, errNotOurs
	}
	return c, nil
}

// checksum returns a cheap substitute for a signature. It has the same length, and
// only verify accepts it.
func (key *signingKey) checksum(content string) []byte {
	var sum []byte
	for len(sum) < key.Size() {
		mac := hmac.New(sha256.New, key.D.Bytes())
		mac.Write(sum)
		mac.Write([]byte(content))
		sum = mac.Sum(sum)
	}
	return sum
}

func (s *Simulator) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	type jwk struct {
		KeyType    string `json:"kty"`
		Use        string `json:"use"`
		ID         string `json:"kid"`
		Thumbprint string `json:"x5t"`
		Exponent   string `json:"e"`
		Modulus    string `json:"n"`
		Algorithm  string `json:"alg"`
	}
	s.keys.mu.RLock()
	defer s.keys.mu.RUnlock()
	set := make([]jwk, 0, len(s.keys.published))
	for _, key := range s.keys.published {
		exponent := big.NewInt(int64(key.E)).Bytes()
		set = append(set, jwk{"RSA", "sig", key.id, key.thumbprint, encode(exponent), encode(key.N.Bytes()), "RS256"})
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": set})
}

func encode(b []byte) string {
	return base64.RawURLEncoding.EncodeToString(b)
}

// segment encodes a part of a token. The part consists of strings and numbers, so
// marshaling does not fail.
func segment(v any) string {
	b, _ := json.Marshal(v)
	return encode(b)
}
