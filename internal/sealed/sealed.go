// Package sealed has what records and login cookies are made of: the cipher that
// they are sealed with, and the layout of times, flags and texts inside.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// NonceSize is the length of a nonce of AES-GCM.
const NonceSize = 12

// NewAEAD returns AES-256-GCM with a key of 32 bytes.
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

// AppendTime appends a time as Unix milliseconds in eight bytes.
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

// AppendText appends a text of at most 65535 bytes behind its length in two
// bytes. A longer one is cut.
func AppendText(b []byte, s string) []byte {
	s = s[:min(len(s), 1<<16-1)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(s))) //nolint:gosec // cut the line before
	return append(b, s...)
}

// Reader reads what the functions above have appended. Once something is missing it
// has failed, and every further value is the zero value.
type Reader struct {
	rest   string
	failed bool
}

// NewReader returns a Reader of s. The texts that it reads are parts of s.
func NewReader(s string) Reader { return Reader{rest: s} }

// AtEnd reports whether all of the text was read, and nothing was missing.
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

// Flag reads a flag. Any other byte than 1 and 0 is a failure, so that what was read
// can be written in one way only.
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

// Secret reads a text that nothing prints. An empty one is the zero Secret.
func (r *Reader) Secret() authserver.Secret {
	if text := r.Text(); text != "" {
		return authserver.NewSecret(text)
	}
	return authserver.Secret{}
}
