package truelayer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// A record is what a store keeps. A session's record is
//
//	version, kind            1 byte each
//	clear header             length and fields, see appendHeader
//	nonce                    12 bytes, fresh for every seal
//	body                     AES-256-GCM, see session.appendBody
//
// with everything before the nonce, and the record's id, as additional data.
// Id and key are both hashes of the secret in the visitor's cookie, which is
// not stored anywhere: who reads a store, the operator included, can neither
// use a token nor find the cookie. The clear header is for listing and
// sweeping; what decides anything stands in the body.
//
// The records of a claim and of a reservation (see claim.go) end after the header:
// they have nothing to hide, they only have to exist.
const (
	recordVersion   = 1
	kindSession     = 's'
	kindClaim       = 'c'
	kindReservation = 'r'

	nonceSize = 12
	// maxRecord is what a store has to be able to keep.
	maxRecord = 64 << 10
)

// label ties ids and keys to a handler's auth server, client, scopes and
// provider, so that blocks with other ones cannot open each other's records.
// Half a digest tells them apart and lets derive hash a single block.
type label [sha256.Size / 2]byte

func newLabel(parts ...string) label {
	var b []byte
	for _, part := range parts {
		b = appendText(b, part)
	}
	digest := sha256.Sum256(b)
	return label(digest[:len(label{})])
}

// cookieSecret is the content of a session cookie.
type cookieSecret [32]byte

func newCookieSecret() (secret cookieSecret) {
	_, _ = rand.Read(secret[:]) // never fails, see crypto/rand
	return secret
}

// derive hashes label, purpose and secret. Label and secret have fixed
// lengths, so no two purposes can meet.
func (l *label) derive(purpose string, secret []byte) [sha256.Size]byte {
	var b [96]byte
	n := copy(b[:], l[:])
	n += copy(b[n:], purpose)
	n += copy(b[n:], secret)
	return sha256.Sum256(b[:n])
}

// sessionID is the id of the session whose cookie has the secret.
func (l *label) sessionID(secret *cookieSecret) string {
	id := l.derive("id", secret[:])
	return string(id[:])
}

// aead returns the cipher for the record of the session with the secret.
func (l *label) aead(secret *cookieSecret) cipher.AEAD {
	key := l.derive("key", secret[:])
	return newAEAD(key[:])
}

// newAEAD returns AES-256-GCM with a key of 32 bytes.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has the right length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block cipher is AES
	}
	return aead
}

// session is a bank connection of a visitor, opened. It is not changed in
// place; a changed copy is sealed anew.
type session struct {
	created      time.Time
	lastSeen     time.Time
	tokenIssued  time.Time
	tokenExpires time.Time
	consentEnds  time.Time

	// ended is why the connection cannot go on: the session lasts until its
	// access token does, and then stays without tokens to tell the visitor.
	// "" while it can.
	ended reason
	told  bool // the visitor has been told

	connection string // TrueLayer's id of the connection, or a random one
	provider   string // "" if TrueLayer did not name it
	scopes     string // granted, separated by spaces

	// bearer is the access token behind "Bearer ", which is how it is sent: the
	// header field's value is then cut out of the record whole. The zero Secret
	// if there is none.
	bearer       authserver.Secret
	refreshToken authserver.Secret // the zero Secret if there is none
}

const bearerPrefix = "Bearer "

// setToken puts an access token into the session.
func (s *session) setToken(access authserver.Secret) {
	s.bearer = authserver.NewSecret(bearerPrefix + access.Reveal())
}

// accessToken returns the access token, the zero Secret if there is none.
func (s *session) accessToken() authserver.Secret {
	if bearer := s.bearer.Reveal(); bearer != "" {
		return authserver.NewSecret(bearer[len(bearerPrefix):])
	}
	return authserver.Secret{}
}

var errBadRecord = errors.New("the record cannot be opened: it was damaged, or moved from another id or version")

// seal returns the session's record for the id that belongs to the secret.
func (s *session) seal(l *label, secret *cookieSecret, clientID string, expires time.Time) ([]byte, error) {
	record := []byte{recordVersion, kindSession}
	record = appendHeader(record, clientID, s.provider, s.created, s.lastSeen, expires)
	additional := append(slices.Clip(record), l.sessionID(secret)...)
	body := s.appendBody(nil)
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:])
	record = append(record, nonce[:]...)
	record = l.aead(secret).Seal(record, nonce[:], body, additional)
	if len(record) > maxRecord {
		return nil, fmt.Errorf("the session's record would have %d bytes, more than the %d that stores keep", len(record), maxRecord)
	}
	return record, nil
}

// scratch are buffers for additional data and plaintext, so that a request
// allocates one string for all of a session's texts and nothing else.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// openSession opens a record that was found under id.
func openSession(record []byte, l *label, secret *cookieSecret, id string) (s session, err error) {
	header, sealed, err := splitRecord(record, kindSession)
	if err != nil {
		return s, err
	}
	if len(sealed) < nonceSize {
		return s, errBadRecord
	}
	buf := scratch.Get().(*[]byte)
	additional := append((*buf)[:0], header...)
	additional = append(additional, id...)
	body, err := l.aead(secret).Open(additional[len(additional):], sealed[:nonceSize], sealed[nonceSize:], additional)
	if err == nil {
		s, err = readBody(body)
	}
	clear(body) // it held tokens
	*buf = additional[:0]
	scratch.Put(buf)
	if err != nil {
		return session{}, errBadRecord
	}
	return s, nil
}

// splitRecord checks version and kind and cuts the record after its header.
func splitRecord(record []byte, kind byte) (header, rest []byte, err error) {
	if len(record) < 4 || len(record) > maxRecord || record[0] != recordVersion || record[1] != kind {
		return nil, nil, errBadRecord
	}
	end := 4 + int(binary.BigEndian.Uint16(record[2:]))
	if end > len(record) {
		return nil, nil, errBadRecord
	}
	return record[:end], record[end:], nil
}

// appendHeader appends the clear header: its length in two bytes, then created,
// last seen and expires in Unix milliseconds, client id, and provider.
func appendHeader(b []byte, clientID, provider string, created, lastSeen, expires time.Time) []byte {
	start := len(b)
	b = append(b, 0, 0)
	b = appendTime(b, created)
	b = appendTime(b, lastSeen)
	b = appendTime(b, expires)
	b = appendText(b, clientID)
	b = appendText(b, provider)
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2)) //nolint:gosec // client id and provider are bounded where they are read
	return b
}

// headerRecord is the record of a claim or a reservation.
func headerRecord(kind byte, clientID string, created, expires time.Time) []byte {
	return appendHeader([]byte{recordVersion, kind}, clientID, "", created, created, expires)
}

// isClaim tells the records that say nothing but that a code was sent from those
// that are a session's, or will be.
func isClaim(record []byte) bool { return len(record) > 1 && record[1] == kindClaim }

func (s *session) appendBody(b []byte) []byte {
	b = appendTime(b, s.created)
	b = appendTime(b, s.lastSeen)
	b = appendTime(b, s.tokenIssued)
	b = appendTime(b, s.tokenExpires)
	b = appendTime(b, s.consentEnds)
	b = appendFlag(b, s.told)
	for _, text := range []string{string(s.ended), s.connection, s.provider, s.scopes, s.bearer.Reveal(), s.refreshToken.Reveal()} {
		b = appendText(b, text)
	}
	return b
}

// readBody reads what appendBody wrote. All texts are cut from one string.
func readBody(body []byte) (session, error) {
	r := reader{rest: string(body)}
	s := session{
		created:      r.time(),
		lastSeen:     r.time(),
		tokenIssued:  r.time(),
		tokenExpires: r.time(),
		consentEnds:  r.time(),
		told:         r.flag(),
		ended:        reason(r.text()),
		connection:   r.text(),
		provider:     r.text(),
		scopes:       r.text(),
		bearer:       r.secret(),
		refreshToken: r.secret(),
	}
	if r.failed || r.rest != "" {
		return session{}, errBadRecord
	}
	return s, nil
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
}

func appendFlag(b []byte, set bool) []byte {
	if set {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendText appends a text of at most 65535 bytes behind its length.
func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), 1<<16-1)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(s))) //nolint:gosec // cut the line before
	return append(b, s...)
}

// reader reads the layout of appendTime and appendText. After the first thing
// that is not there it has failed and answers with zero values.
type reader struct {
	rest   string
	failed bool
}

func (r *reader) take(n int) string {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return ""
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) time() time.Time {
	var v uint64
	for _, b := range []byte(r.take(8)) {
		v = v<<8 | uint64(b)
	}
	return time.UnixMilli(int64(v))
}

func (r *reader) flag() bool {
	b := r.take(1)
	r.failed = r.failed || b > "\x01"
	return b == "\x01"
}

func (r *reader) text() string {
	var n int
	for _, b := range []byte(r.take(2)) {
		n = n<<8 | int(b)
	}
	return r.take(n)
}

// secret reads a text that nothing prints.
func (r *reader) secret() authserver.Secret {
	if text := r.text(); text != "" {
		return authserver.NewSecret(text)
	}
	return authserver.Secret{}
}
