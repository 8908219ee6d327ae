package session

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
)

// A record is what a store keeps. A session's record is
//
//	version, kind            1 byte each
//	clear header             its length in 2 bytes, and its fields, see header.append
//	nonce                    12 bytes, fresh for every seal
//	body                     AES-256-GCM, see body.append
//
// with everything before the nonce, and the record's id, as additional data.
// The id and the key are both hashes of the secret in the visitor's cookie, which is not
// stored anywhere. So nobody who reads a store, not even its operator, can use a token or
// recover a cookie. The clear header is for listing, revoking and sweeping; every
// decision depends on the body alone.
//
// The records of claims and reservations (see claim.go) have 16 random bytes after the
// header and no body. A tombstone has one byte after the header, which says who ended
// the session.
const (
	recordVersion   = 2
	kindSession     = 's'
	kindClaim       = 'c'
	kindReservation = 'r'
	kindTombstone   = 't'

	// maxRecord is the size of the largest record that every store has to accept.
	maxRecord = 64 << 10
)

// header is the part of a record that is not encrypted.
type header struct {
	created, lastSeen, expires time.Time

	clientID string
	provider string
	// site is the digest of the block's redirect URI without its scheme.
	site Digest
	// connection is the digest of the connection's id, see Label.connectionDigest. All
	// sessions of a connection have the same, so that they can be ended together.
	connection Digest
	// randomConnection says that the connection's id is a random one, because the token
	// named none. No other session has the same.
	randomConnection bool
}

// append appends the length of the header and the header.
func (h *header) append(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0)
	for _, t := range []time.Time{h.created, h.lastSeen, h.expires} {
		b = sealed.AppendTime(b, t)
	}
	b = append(b, h.site[:]...)
	b = append(b, h.connection[:]...)
	b = sealed.AppendFlag(b, h.randomConnection)
	b = sealed.AppendText(b, h.clientID)
	b = sealed.AppendText(b, h.provider)
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2)) //nolint:gosec // client id and provider are bounded where they are read
	return b
}

// readHeader reads what append has written after the length.
func readHeader(b []byte) (header, bool) {
	r := sealed.NewReader(string(b))
	h := header{created: r.Time(), lastSeen: r.Time(), expires: r.Time()}
	copy(h.site[:], r.Bytes(len(h.site)))
	copy(h.connection[:], r.Bytes(len(h.connection)))
	h.randomConnection = r.Flag()
	h.clientID, h.provider = r.Text(), r.Text()
	return h, r.AtEnd()
}

// headerRecord returns the record of a claim or a reservation. It ends with random
// bytes, so that no two records are equal and a compare-and-swap finds only this one.
func headerRecord(kind byte, clientID string, created, expires time.Time) []byte {
	h := header{created: created, lastSeen: created, expires: expires, clientID: clientID}
	var mark [16]byte
	_, _ = rand.Read(mark[:]) // never fails, see crypto/rand
	return append(h.append([]byte{recordVersion, kind}), mark[:]...)
}

// IsClaim reports whether a record is a claim, as opposed to the record of a session or
// of a reservation.
func IsClaim(record []byte) bool { return len(record) > 1 && record[1] == kindClaim }

var errBadRecord = errors.New("the record cannot be opened: it was damaged, or moved from another id")

// versionError is the version of a record that another release of the module has written.
type versionError byte

func (v versionError) Error() string {
	return fmt.Sprintf("the record has version %d, and this release of the module reads version %d; the visitor has to log in again", byte(v), recordVersion)
}

// splitRecord checks a record's version and kind and splits it after its header.
func splitRecord(record []byte, kind byte) (header, rest []byte, err error) {
	if len(record) < 4 || len(record) > maxRecord {
		return nil, nil, errBadRecord
	}
	if record[0] != recordVersion {
		return nil, nil, versionError(record[0])
	}
	if record[1] != kind {
		return nil, nil, errBadRecord
	}
	end := 4 + int(binary.BigEndian.Uint16(record[2:]))
	if end > len(record) {
		return nil, nil, errBadRecord
	}
	return record[:end], record[end:], nil
}

// seal returns the record of a session. It can be opened only with the secret and under
// the id that belongs to it.
func (b *body) seal(l *Label, secret *Secret, site Digest, clientID string, expires time.Time) ([]byte, error) {
	h := header{
		created: b.created, lastSeen: b.lastSeen, expires: expires, clientID: clientID, provider: b.Provider,
		site: site, connection: l.connectionDigest(b.Connection), randomConnection: b.randomConnection,
	}
	record := h.append([]byte{recordVersion, kindSession})
	additional := append(slices.Clip(record), l.SessionID(secret)...)
	var nonce [sealed.NonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails, see crypto/rand
	record = append(record, nonce[:]...)
	record = l.aead(secret).Seal(record, nonce[:], b.append(nil), additional)
	if len(record) > maxRecord {
		return nil, fmt.Errorf("the session's record has %d bytes, but a store need not accept more than %d", len(record), maxRecord)
	}
	return record, nil
}

// scratch holds buffers for additional data and plaintext, so that opening a record
// allocates only one string, for all of the session's texts.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// open opens a record that was found under id.
func open(record []byte, l *Label, secret *Secret, id string) (b body, err error) {
	header, rest, err := splitRecord(record, kindSession)
	if err != nil {
		return b, err
	}
	if len(rest) < sealed.NonceSize {
		return b, errBadRecord
	}
	buf := scratch.Get().(*[]byte)
	additional := append((*buf)[:0], header...)
	additional = append(additional, id...)
	plain, err := l.aead(secret).Open(additional[len(additional):], rest[:sealed.NonceSize], rest[sealed.NonceSize:], additional)
	if err == nil {
		b, err = readBody(plain)
	}
	clear(plain) // it contains tokens
	*buf = additional[:0]
	scratch.Put(buf)
	if err != nil {
		return body{}, errBadRecord
	}
	return b, nil
}

// append appends the encoded body.
func (b *body) append(to []byte) []byte {
	for _, t := range []time.Time{b.created, b.lastSeen, b.tokenIssued, b.TokenExpires, b.ConsentEnds} {
		to = sealed.AppendTime(to, t)
	}
	to = sealed.AppendFlag(to, b.consentOver)
	to = sealed.AppendFlag(to, b.Told)
	to = sealed.AppendFlag(to, b.randomConnection)
	for _, text := range []string{b.Connection, b.Provider, b.Scopes, b.bearer.Reveal(), b.refreshToken.Reveal()} {
		to = sealed.AppendText(to, text)
	}
	if b.Kept != "" { // records from before there was any have no length for it
		to = sealed.AppendText(to, b.Kept)
	}
	return to
}

// readBody reads what append has written. All texts are substrings of one string.
func readBody(plain []byte) (body, error) {
	r := sealed.NewReader(string(plain))
	b := body{
		created:          r.Time(),
		lastSeen:         r.Time(),
		tokenIssued:      r.Time(),
		TokenExpires:     r.Time(),
		ConsentEnds:      r.Time(),
		consentOver:      r.Flag(),
		Told:             r.Flag(),
		randomConnection: r.Flag(),
		Connection:       r.Text(),
		Provider:         r.Text(),
		Scopes:           r.Text(),
		bearer:           r.Secret(),
		refreshToken:     r.Secret(),
	}
	if !r.AtEnd() {
		if b.Kept = r.Text(); b.Kept == "" || !r.AtEnd() {
			return body{}, errBadRecord
		}
	}
	return b, nil
}
