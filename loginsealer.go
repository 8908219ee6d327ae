package truelayer

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// loginLifetime is how long a visitor may take at the bank.
const loginLifetime = 30 * time.Minute

// lostSession is for how long after a login a navigation without its
// session is answered with a page instead of another trip to the bank.
const lostSession = time.Minute

// login is a login in flight, or one that is done. It lives in a cookie of the
// visitor's browser, sealed, and nowhere else, so that it costs the server
// nothing and ends on any node, after any restart.
type login struct {
	done bool
	// started is when the visitor was sent to the bank.
	started time.Time
	// sessionExpected, of a login that is done, is the time until which a visitor who
	// arrives without its session has lost it in a way that another visit to
	// the bank would not mend.
	sessionExpected time.Time
	// state is the OAuth 2.0 state parameter, base64url.
	state string
	// verifier is the PKCE code verifier; zero if PKCE is off, or done.
	verifier authserver.Secret
	// redirectURI is the one in the auth link; the exchange must repeat it.
	redirectURI string
	// returnTo is where the visitor was going.
	returnTo string

	// cookie is the name of the cookie that it was found in; not sealed.
	cookie string
}

// isOver reports whether a login is good for nothing any more.
func (l *login) isOver(now time.Time) bool {
	if l.done {
		return !l.expectsSession(now)
	}
	return now.Sub(l.started) > loginLifetime
}

// expectsSession reports whether the session of a login that is done should be
// here. A time that is too far ahead was noted before the clock was set back.
func (l *login) expectsSession(now time.Time) bool {
	left := l.sessionExpected.Sub(now)
	return l.done && left > 0 && left <= 2*lostSession
}

// loginSealer seals logins into cookies. Its key depends on the client secret
// only, so that every node has it and there is nothing to store or rotate.
type loginSealer struct {
	secret authserver.Secret
	info   string
}

func newLoginSealer(secret authserver.Secret, l session.Label) loginSealer {
	return loginSealer{secret: secret, info: "truelayer login cookie v1 " + string(l[:])}
}

const (
	loginSaltSize = 16
	// maxLoginCookie is longer than any login cookie's value.
	maxLoginCookie = 5 << 10
)

// aead derives the key for one cookie. A key for each cookie, by a random salt
// in it, lets a random nonce be safe however many logins are begun.
func (k loginSealer) aead(salt []byte) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, []byte(k.secret.Reveal()), salt, k.info, 32)
	if err != nil {
		panic(err) // 32 bytes can be derived
	}
	return sealed.NewAEAD(key)
}

// seal returns the cookie's value; it opens under that name only.
func (k loginSealer) seal(name string, l *login) string {
	var b [loginSaltSize + sealed.NonceSize]byte
	_, _ = rand.Read(b[:])
	plain := sealed.AppendFlag(nil, l.done)
	plain = sealed.AppendTime(plain, l.started)
	plain = sealed.AppendTime(plain, l.sessionExpected)
	for _, text := range []string{l.state, l.verifier.Reveal(), l.redirectURI, l.returnTo} {
		plain = sealed.AppendText(plain, text)
	}
	value := k.aead(b[:loginSaltSize]).Seal(b[:], b[loginSaltSize:], plain, []byte(name))
	return cookieEncoding.EncodeToString(value)
}

var errBadLogin = errors.New("the login cookie cannot be opened")

func (k loginSealer) open(name, value string) (*login, error) {
	if len(value) > maxLoginCookie {
		return nil, errBadLogin
	}
	raw, err := cookieEncoding.DecodeString(value)
	if err != nil || len(raw) < loginSaltSize+sealed.NonceSize {
		return nil, errBadLogin
	}
	nonce := raw[loginSaltSize : loginSaltSize+sealed.NonceSize]
	plain, err := k.aead(raw[:loginSaltSize]).Open(nil, nonce, raw[loginSaltSize+sealed.NonceSize:], []byte(name))
	if err != nil {
		return nil, errBadLogin
	}
	r := sealed.NewReader(string(plain))
	l := &login{
		done:            r.Flag(),
		started:         r.Time(),
		sessionExpected: r.Time(),
		state:           r.Text(),
		verifier:        r.Secret(),
		redirectURI:     r.Text(),
		returnTo:        r.Text(),
		cookie:          name,
	}
	if !r.AtEnd() {
		return nil, errBadLogin
	}
	return l, nil
}
