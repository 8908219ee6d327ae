package truelayer

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"iter"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// loginLifetime is how long a visitor may take at the bank.
const loginLifetime = 30 * time.Minute

// loginSlots are the cookies that logins are kept in, each with the length of the
// longest return target that it takes. There are no more of them, however many
// tabs a browser opens at once: their requests do not see each other's cookies, and
// a Cookie line of more than 8 KB is refused by many servers in front.
var loginSlots = [...]int{maxReturn, 500, 200, 200, 200}

const (
	// maxLoginCookie is longer than any login cookie's value.
	maxLoginCookie = 5 << 10
	// maxLoginsTried bounds how many cookies with a login cookie's name are opened.
	// There are more than slots only without the __Host- prefix.
	maxLoginsTried = 4 * len(loginSlots)
)

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
		return !now.Before(l.sessionExpected)
	}
	return now.Sub(l.started) > loginLifetime
}

// loginCookie is the name of a slot's cookie.
func (c *cookieNames) loginCookie(slot int) string { return c.login + strconv.Itoa(slot) }

// loginsOf yields the logins that the browser has, those of the last cookies
// first: ours are for the path "/", and browsers send what somebody else has
// planted for a longer path before them (RFC 6265 section 5.4).
func (h *Handler) loginsOf(r *http.Request) iter.Seq[*login] {
	return func(yield func(*login) bool) {
		var last [maxLoginsTried][2]string
		n := 0
		for name, value := range cookiePairs(cookieLines(r)) {
			if strings.HasPrefix(name, h.cookies.login) {
				last[n%len(last)] = [2]string{name, value}
				n++
			}
		}
		for i := range min(n, len(last)) {
			cookie := last[(n-1-i)%len(last)]
			if l, err := h.loginKeys.open(cookie[0], cookie[1]); err == nil && !yield(l) {
				return
			}
		}
	}
}

// findLogin returns the login with the state, or nil.
func (h *Handler) findLogin(r *http.Request, state string) *login {
	for l := range h.loginsOf(r) {
		if l.state == state {
			return l
		}
	}
	return nil
}

// justLoggedIn reports whether a login of this browser was done so recently
// that its session should be here.
func (h *Handler) justLoggedIn(r *http.Request) bool {
	for l := range h.loginsOf(r) {
		if l.done && h.now().Before(l.sessionExpected) {
			return true
		}
	}
	return false
}

// keepLogin sets the cookie of a login that begins. A slot that is free is drawn
// by lot, so that tabs which begin at once do not all take the same one. If none
// is free for the return target that one is shortened, and if none is free at all
// the oldest login goes.
func (h *Handler) keepLogin(w http.ResponseWriter, r *http.Request, l *login) {
	var taken [len(loginSlots)]*login
	for other := range h.loginsOf(r) {
		for slot := range taken {
			if other.cookie == h.cookies.loginCookie(slot) && taken[slot] == nil && !other.isOver(h.now()) {
				taken[slot] = other
			}
		}
	}
	slot, found := 0, false
	for target := l.returnTo; !found; target = shorten(target) {
		if slot, found = freeSlot(taken, len(target)); found || target == "/" {
			break
		}
	}
	if !found {
		slot = oldest(taken)
	}
	h.putLogin(w, h.cookies.loginCookie(slot), loginSlots[slot], l)
}

// putLogin sets a login's cookie, with a return target that is not longer than
// most.
func (h *Handler) putLogin(w http.ResponseWriter, name string, most int, l *login) {
	for len(l.returnTo) > most {
		l.returnTo = shorten(l.returnTo)
	}
	h.cookies.set(w, name, h.loginKeys.seal(name, l), loginLifetime)
}

// freeSlot draws one of the free slots that take a return target of a length.
func freeSlot(taken [len(loginSlots)]*login, length int) (slot int, found bool) {
	for n, i := 0, 0; i < len(taken); i++ {
		if taken[i] != nil || length > loginSlots[i] {
			continue
		}
		if n++; mathrand.IntN(n) == 0 { //nolint:gosec // spread, not secret
			slot, found = i, true
		}
	}
	return slot, found
}

// oldest is the slot of the login that began first, if it can be of one that is
// not done: the mark of a login that is done keeps its visitor from a loop.
func oldest(taken [len(loginSlots)]*login) (slot int) {
	for i, l := range taken {
		if o := taken[slot]; o.done && !l.done || o.done == l.done && l.started.Before(o.started) {
			slot = i
		}
	}
	return slot
}

// prune takes login cookies from the browser that are good for nothing any more.
func (h *Handler) prune(w http.ResponseWriter, r *http.Request) {
	live := make(map[string]bool)
	for l := range h.loginsOf(r) {
		if !l.isOver(h.now()) {
			live[l.cookie] = true
		}
	}
	pruned := 0
	for name := range cookiePairs(cookieLines(r)) {
		if strings.HasPrefix(name, h.cookies.login) && !live[name] && pruned < maxLoginsTried {
			live[name] = true // once
			pruned++
			h.cookies.set(w, name, "", -1)
		}
	}
}

// loginSealer seals logins into cookies. Its key depends on the client secret
// only, so that every node has it and there is nothing to store or rotate.
type loginSealer struct {
	secret authserver.Secret
	info   string
}

func newLoginSealer(secret authserver.Secret, l label) loginSealer {
	return loginSealer{secret: secret, info: "truelayer login cookie v1 " + string(l[:])}
}

const loginSaltSize = 16

// aead derives the key for one cookie. A key for each cookie, by a random salt
// in it, lets a random nonce be safe however many logins are begun.
func (k loginSealer) aead(salt []byte) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, []byte(k.secret.Reveal()), salt, k.info, 32)
	if err != nil {
		panic(err) // 32 bytes can be derived
	}
	return newAEAD(key)
}

// seal returns the cookie's value; it opens under that name only.
func (k loginSealer) seal(name string, l *login) string {
	var b [loginSaltSize + nonceSize]byte
	_, _ = rand.Read(b[:])
	plain := appendFlag(nil, l.done)
	plain = appendTime(plain, l.started)
	plain = appendTime(plain, l.sessionExpected)
	for _, text := range []string{l.state, l.verifier.Reveal(), l.redirectURI, l.returnTo} {
		plain = appendText(plain, text)
	}
	sealed := k.aead(b[:loginSaltSize]).Seal(b[:], b[loginSaltSize:], plain, []byte(name))
	return cookieEncoding.EncodeToString(sealed)
}

var errBadLogin = errors.New("the login cookie cannot be opened")

func (k loginSealer) open(name, value string) (*login, error) {
	if len(value) > maxLoginCookie {
		return nil, errBadLogin
	}
	sealed, err := cookieEncoding.DecodeString(value)
	if err != nil || len(sealed) < loginSaltSize+nonceSize {
		return nil, errBadLogin
	}
	nonce := sealed[loginSaltSize : loginSaltSize+nonceSize]
	plain, err := k.aead(sealed[:loginSaltSize]).Open(nil, nonce, sealed[loginSaltSize+nonceSize:], []byte(name))
	if err != nil {
		return nil, errBadLogin
	}
	r := reader{rest: string(plain)}
	l := &login{
		done:            r.flag(),
		started:         r.time(),
		sessionExpected: r.time(),
		state:           r.text(),
		verifier:        r.secret(),
		redirectURI:     r.text(),
		returnTo:        r.text(),
		cookie:          name,
	}
	if r.failed || r.rest != "" {
		return nil, errBadLogin
	}
	return l, nil
}
