package truelayer

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// sealer seals what browsers keep for the module. It derives its keys from the client
// secret, so every node has them and there is nothing to store or rotate.
type sealer struct {
	secret authserver.Secret
	info   string
}

// newSealer returns the sealer for a purpose. Another purpose has other keys, and so has a
// block with another label.
func newSealer(secret authserver.Secret, purpose string, l session.Label) sealer {
	return sealer{secret: secret, info: "truelayer " + purpose + " " + string(l[:])}
}

const sealerSaltSize = 16

// aead returns the cipher for one text. Each text has its own key, derived with a random
// salt, so that random nonces stay safe however many texts are sealed.
func (k sealer) aead(salt []byte) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, []byte(k.secret.Reveal()), salt, k.info, 32)
	if err != nil {
		panic(err) // cannot happen for 32 bytes
	}
	return sealed.NewAEAD(key)
}

// seal returns a sealed text in base64url. It can be opened only together with what it is
// bound to.
func (k sealer) seal(plain []byte, boundTo string) string {
	var b [sealerSaltSize + sealed.NonceSize]byte
	_, _ = rand.Read(b[:])
	return cookieEncoding.EncodeToString(k.aead(b[:sealerSaltSize]).Seal(b[:], b[sealerSaltSize:], plain, []byte(boundTo)))
}

// open returns what was sealed into a text.
func (k sealer) open(text, boundTo string) (plain []byte, ok bool) {
	raw, err := cookieEncoding.DecodeString(text)
	if err != nil || len(raw) < sealerSaltSize+sealed.NonceSize {
		return nil, false
	}
	salt, nonce, ciphertext := raw[:sealerSaltSize], raw[sealerSaltSize:sealerSaltSize+sealed.NonceSize], raw[sealerSaltSize+sealed.NonceSize:]
	plain, err = k.aead(salt).Open(nil, nonce, ciphertext, []byte(boundTo))
	return plain, err == nil
}
