package simulator

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// newHex returns n random bytes in upper-case hexadecimal, the form of TrueLayer's
// codes, refresh tokens and token ids.
func newHex(n int) string {
	return fmt.Sprintf("%X", randomBytes(n))
}

func lowerHex(b []byte) string {
	return hex.EncodeToString(b)
}

func newSessionID() string {
	return "auth-" + base64.RawURLEncoding.EncodeToString(randomBytes(32))
}

func newUUID() string {
	return uuidFrom([16]byte(randomBytes(16)))
}

// uuidFrom returns a version 4 UUID made from 16 random or pseudo-random bytes.
func uuidFrom(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// randomBytes returns n random bytes. It needs no error, since crypto/rand ends the
// program if it fails.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
