// Package sealed has the cipher that seals session records and login cookies, and the
// binary encoding of the times, flags and texts in them.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// NonceSize is the length of an AES-GCM nonce in bytes.
const NonceSize = 12

// NewAEAD returns AES-256-GCM with a key, which must have 32 bytes.
func NewAEAD(key []byte) cipher.AEAD {
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

// AppendTime appends a time in Unix milliseconds, as eight bytes.
func AppendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
}

// AppendFlag appends one byte, 1 or 0.
func AppendFlag(b []byte, set bool) []byte {
	if set {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendText appends the length of a text in two bytes, and then the text. It truncates
// the text to 65535 bytes.
func AppendText(b []byte, s string) []byte {
	s = s[:min(len(s), 1<<16-1)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(s))) //nolint:gosec // bounded in the line before
	return append(b, s...)
}

// Reader reads what the functions above have appended. It fails when something is
// missing or malformed; after that every value that it returns is the zero value.
type Reader struct {
	rest   string
	failed bool
}

// NewReader returns a Reader of s. The texts that it returns are substrings of s.
func NewReader(s string) Reader { return Reader{rest: s} }

// AtEnd reports whether everything was read and nothing failed.
func (r *Reader) AtEnd() bool { return !r.failed && r.rest == "" }

// Bytes reads n bytes.
func (r *Reader) Bytes(n int) string {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return ""
	}
	read := r.rest[:n]
	r.rest = r.rest[n:]
	return read
}

// Time reads a time.
func (r *Reader) Time() time.Time {
	var v uint64
	for _, b := range []byte(r.Bytes(8)) {
		v = v<<8 | uint64(b)
	}
	return time.UnixMilli(int64(v))
}

// Flag reads a flag. It fails for any byte other than 1 and 0, so that every value has
// only one encoding.
func (r *Reader) Flag() bool {
	b := r.Bytes(1)
	r.failed = r.failed || b > "\x01"
	return b == "\x01"
}

// Text reads a text.
func (r *Reader) Text() string {
	var n int
	for _, b := range []byte(r.Bytes(2)) {
		n = n<<8 | int(b)
	}
	return r.Bytes(n)
}

// Secret reads a text as a Secret, so that nothing prints it. An empty text is the zero
// Secret.
func (r *Reader) Secret() authserver.Secret {
	if text := r.Text(); text != "" {
		return authserver.NewSecret(text)
	}
	return authserver.Secret{}
}
