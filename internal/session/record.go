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
// Id and key are both hashes of the secret in the visitor's cookie, which is
// not stored anywhere: who reads a store, the operator included, can neither
// use a token nor find the cookie. The clear header is for listing, revoking and
// sweeping; what decides anything stands in the body.
//
// The records of a claim and of a reservation (see claim.go) have 16 random bytes
// after the header: they have nothing to hide, they only have to exist. A tombstone has one byte more,
// the reason for which an operator ended the session that was there.
const (
	recordVersion   = 2
	kindSession     = 's'
	kindClaim       = 'c'
	kindReservation = 'r'
	kindTombstone   = 't'

	// maxRecord is what a store has to be able to keep.
	maxRecord = 64 << 10
)

// header is what a record shows to anybody who can read it.
type header struct {
	created, lastSeen, expires time.Time

	clientID string
	provider string
	// site stands for the block's redirect URI, without its scheme.
	site Digest
	// connection stands for the id of the connection: all sessions of one connection
	// have the same, so that they can be ended together. It is pseudonymous personal
	// data. See Label.connectionDigest.
	connection Digest
	// invented says that the token named no connection, so that the id is a random one
	// and no other session has it.
	randomConnection bool
}

// append appends the header behind its length.
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

// readHeader reads what append wrote, without its length.
func readHeader(b []byte) (header, bool) {
	r := sealed.NewReader(string(b))
	h := header{created: r.Time(), lastSeen: r.Time(), expires: r.Time()}
	copy(h.site[:], r.Bytes(len(h.site)))
	copy(h.connection[:], r.Bytes(len(h.connection)))
	h.randomConnection = r.Flag()
	h.clientID, h.provider = r.Text(), r.Text()
	return h, r.AtEnd()
}

// headerRecord is the record of a claim or a reservation. It ends with random bytes,
// so that a compare-and-swap takes it for no other's.
func headerRecord(kind byte, clientID string, created, expires time.Time) []byte {
	h := header{created: created, lastSeen: created, expires: expires, clientID: clientID}
	var mark [16]byte
	_, _ = rand.Read(mark[:]) // never fails, see crypto/rand
	return append(h.append([]byte{recordVersion, kind}), mark[:]...)
}

// IsClaim tells the records that only say that a code was sent from those that are a
// session's, or will be.
func IsClaim(record []byte) bool { return len(record) > 1 && record[1] == kindClaim }

var errBadRecord = errors.New("the record cannot be opened: it was damaged, or moved from another id or version")

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

// seal returns the record of a session, for the id that belongs to the secret.
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
		return nil, fmt.Errorf("the session's record would have %d bytes, more than the %d that stores keep", len(record), maxRecord)
	}
	return record, nil
}

// scratch are buffers for additional data and plaintext, so that a request
// allocates one string for all of a session's texts and nothing else.
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
	clear(plain) // it held tokens
	*buf = additional[:0]
	scratch.Put(buf)
	if err != nil {
		return body{}, errBadRecord
	}
	return b, nil
}

// append appends what is sealed of a session.
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
	return to
}

// readBody reads what append wrote. All texts are cut from one string.
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
		return body{}, errBadRecord
	}
	return b, nil
}
