package authserver

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"sync"
	"time"
)

const (
	testIssuer = "https://auth.example"
	rsaKeyID   = "rsa-1"
	ecKeyID    = "ec-1"
)

var (
	verifyAt = time.Unix(1_800_000_000, 0)
	// making RSA keys is slow
	rsaKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
		var keys [2]*rsa.PrivateKey
		for i := range keys {
			keys[i], _ = rsa.GenerateKey(rand.Reader, 2048) // fails for smaller sizes only
		}
		return keys
	})
	// the same in each fuzzing process
	ecKey = newECKey(1)
)

func newECKey(seed byte) *ecdsa.PrivateKey {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		panic(err)
	}
	return key
}

type object map[string]any

// and is the object with some members set, or with nil taken out.
func (o object) and(changes object) object {
	changed := maps.Clone(o)
	for name, value := range changes {
		if changed[name] = value; value == nil {
			delete(changed, name)
		}
	}
	return changed
}

// claims are those of a good access token.
func goodClaims() object {
	return object{
		"iss": testIssuer, "client_id": "client", "aud": "data_api", "sub": "canary-subject",
		"iat": verifyAt.Unix(), "nbf": verifyAt.Unix(), "exp": verifyAt.Add(time.Hour).Unix(),
	}
}

func part(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// signed makes a token with the key, whatever its header says. A []byte is the
// key of an HMAC.
func signed(header, claims object, key any) string {
	content := part(header) + "." + part(claims)
	digest := sha256.Sum256([]byte(content))
	var signature []byte
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if header["alg"] == "PS256" {
			signature, _ = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, _ = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		}
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(content))
		signature = mac.Sum(nil)
	}
	return content + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func rsaJWK(id string, key *rsa.PublicKey) object {
	return object{
		"kty": "RSA", "kid": id, "use": "sig", "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

func ecJWK(id string, key *ecdsa.PublicKey) object {
	point, err := key.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	return object{
		"kty": "EC", "kid": id, "use": "sig", "alg": "ES256", "crv": "P-256",
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}
}

func keySetOf(keys ...object) string {
	text, err := json.Marshal(object{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(text)
}
