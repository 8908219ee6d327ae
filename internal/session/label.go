package session

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"

	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
)

// Label ties ids and keys to a block's auth server, client, scopes and provider, so that
// blocks that differ in one of them cannot open each other's records.
//
// Half a digest is enough to distinguish blocks, and short enough for derive to hash only
// a single block of SHA-256.
type Label [sha256.Size / 2]byte

// NewLabel returns the label for the texts that a block's sessions are tied to.
func NewLabel(parts ...string) Label {
	var b []byte
	for _, part := range parts {
		b = sealed.AppendText(b, part)
	}
	digest := sha256.Sum256(b)
	return Label(digest[:len(Label{})])
}

// Secret is the content of a session cookie.
type Secret [32]byte

// NewSecret returns a random secret.
func NewSecret() (secret Secret) {
	_, _ = rand.Read(secret[:]) // never fails, see crypto/rand
	return secret
}

// derive hashes label, purpose and secret. Label and secret have fixed lengths, so two
// purposes never have the same input.
func (l *Label) derive(purpose string, secret []byte) [sha256.Size]byte {
	var b [96]byte // purposes have at most 48 bytes
	n := copy(b[:], l[:])
	n += copy(b[n:], purpose)
	n += copy(b[n:], secret)
	return sha256.Sum256(b[:n])
}

// SessionID returns the id of the session whose cookie has the secret.
func (l *Label) SessionID(secret *Secret) string {
	id := l.derive("id", secret[:])
	return string(id[:])
}

// claimID returns the id of the claim of the login with the state.
func (l *Label) claimID(state string) string {
	id := l.derive("claim", []byte(state)[:min(len(state), 43)])
	return string(id[:])
}

// aead returns the cipher for the record of the session with the secret.
func (l *Label) aead(secret *Secret) cipher.AEAD {
	key := l.derive("key", secret[:])
	return sealed.NewAEAD(key[:])
}

// Digest represents a text in a record's header.
type Digest [16]byte

// connectionDigest returns the digest of a connection's id. It is pseudonymous personal
// data, because whoever knows the id and the parts of the label can compute it.
func (l *Label) connectionDigest(id string) Digest {
	b := append(l[:len(l):len(l)], "connection"...)
	digest := sha256.Sum256(append(b, id...))
	return Digest(digest[:len(Digest{})])
}

// siteDigest returns the digest of a block's site.
func siteDigest(site string) Digest {
	digest := sha256.Sum256([]byte("site" + site))
	return Digest(digest[:len(Digest{})])
}
