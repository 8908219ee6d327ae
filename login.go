package truelayer

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

const (
	// loginLifetime is how long a visitor may take at the bank.
	loginLifetime = 30 * time.Minute
	// maxLogins is how many login cookies a browser is left with.
	maxLogins = 5
	// maxLoginCookie bounds a login cookie, name and value: five of them must
	// not push a request over the header limits that servers in front have.
	maxLoginCookie = 1 << 10
	// maxReturn bounds a return target before it has to fit into the cookie.
	maxReturn = 1 << 10
)

// login is a login in flight, or one that is done. It lives in a cookie of the
// visitor's browser, sealed, and nowhere else, so that it costs the server
// nothing and ends on any node, after any restart.
type login struct {
	done bool
	// started is when the visitor was sent to the bank.
	started time.Time
	// fresh, of a login that is done, is the time until which a visitor who
	// arrives without its session has lost it in a way that another visit to
	// the bank would not mend.
	fresh time.Time
	// state is the OAuth 2.0 state parameter, base64url.
	state string
	// verifier is the PKCE code verifier; zero if PKCE is off, or done.
	verifier authserver.Secret
	// redirectURI is the one in the auth link; the exchange must repeat it.
	redirectURI string
	// returnTo is where the visitor was going.
	returnTo string
}

// randomText returns 32 random bytes in base64url, which is what RFC 7636
// section 4.1 recommends for a code verifier.
func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// loginCookieName is the name of the cookie of the login with the state. The
// state itself is not shown in it.
func (c *cookieNames) loginCookieName(state string) string {
	digest := sha256.Sum256([]byte(state))
	return c.login + hex.EncodeToString(digest[:8])
}

// startLogin sends the visitor to a newly made auth link, if provider is not ""
// straight to that bank.
func (h *Handler) startLogin(w http.ResponseWriter, r *http.Request, returnTo, provider string) error {
	l := &login{
		started:     h.now(),
		state:       randomText(),
		redirectURI: h.link.RedirectURI,
		returnTo:    returnTo,
	}
	if !h.DisablePKCE {
		l.verifier = authserver.NewSecret(randomText())
	}
	name := h.cookies.loginCookieName(l.state)
	value := h.loginKeys.seal(name, l)
	for len(name)+1+len(value) > maxLoginCookie && l.returnTo != "/" {
		l.returnTo = shorten(l.returnTo)
		value = h.loginKeys.seal(name, l)
	}
	h.dropOldLogins(w, r)
	h.cookies.set(w, name, value, loginLifetime)

	link := h.link
	link.State = l.state
	if link.ProviderID == "" {
		link.ProviderID = provider
	}
	link.Verifier = l.verifier
	h.seeOther(w, h.client.AuthLink(link))
	return nil
}

// dropOldLogins makes room for one more login cookie. Browsers send the oldest
// first (RFC 6265 section 5.4).
func (h *Handler) dropOldLogins(w http.ResponseWriter, r *http.Request) {
	var names []string
	for name := range cookiePairs(cookieLines(r)) {
		if strings.HasPrefix(name, h.cookies.login) {
			names = append(names, name)
		}
	}
	for _, name := range names[:max(0, len(names)-maxLogins+1)] {
		h.cookies.set(w, name, "", -1)
	}
}

// findLogin opens the login cookie that belongs to the state, or returns nil.
func (h *Handler) findLogin(r *http.Request, state string) *login {
	wanted := h.cookies.loginCookieName(state)
	for name, value := range cookiePairs(cookieLines(r)) {
		if name != wanted {
			continue
		}
		if l, err := h.loginKeys.open(name, value); err == nil && l.state == state {
			return l
		}
	}
	return nil
}

// loginsOf yields the logins of this browser, of so many cookies at most.
func (h *Handler) loginsOf(r *http.Request) iter.Seq[*login] {
	return func(yield func(*login) bool) {
		seen := 0
		for name, value := range cookiePairs(cookieLines(r)) {
			if !strings.HasPrefix(name, h.cookies.login) {
				continue
			}
			if seen++; seen > 2*maxLogins {
				return
			}
			if l, err := h.loginKeys.open(name, value); err == nil && !yield(l) {
				return
			}
		}
	}
}

// justLoggedIn reports whether a login of this browser was done so recently
// that its session should be here.
func (h *Handler) justLoggedIn(r *http.Request) bool {
	for l := range h.loginsOf(r) {
		if l.done && h.now().Before(l.fresh) {
			return true
		}
	}
	return false
}

// serveLogin is the login URL: <redirect path>/login?return=<path>.
func (h *Handler) serveLogin(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		return h.fail(w, r, failure{reason: methodNotAllowed})
	}
	returnTo := "/"
	if query, err := url.ParseQuery(arrived(r).URL.RawQuery); err == nil && len(query["return"]) == 1 {
		returnTo = h.returnTarget(query.Get("return"))
	}
	if fetch := r.Header.Get("Sec-Fetch-Mode"); fetch != "" && classify(r) != navigation {
		// an image tag or a frame must not start logins
		return h.refuse(w, r, returnTo)
	}
	s, err := h.find(r.Context(), cookieLines(r), h.now())
	if err != nil {
		return h.fail(w, r, failure{reason: storeUnavailable, cause: err})
	}
	switch {
	case s == nil:
		return h.startLogin(w, r, returnTo, "")
	case s.over(h.now()), h.isStuck(s, h.now()):
		return h.startLogin(w, r, returnTo, s.provider) // the bank that was connected before
	}
	h.seeOther(w, returnTo)
	return nil
}

// loginURL is the absolute login URL that comes back to returnTo. It is on the
// redirect URI's host, where the login's cookie has to be set.
func (h *Handler) loginURL(returnTo string) string {
	u := h.origin + h.paths.login
	if returnTo != "/" {
		u += "?return=" + url.QueryEscape(returnTo)
	}
	return u
}

// returnTarget returns target if a redirect to it stays on our own origin
// whatever a browser makes of it, and "/" otherwise: it has to be a path and
// query in visible ASCII that cannot be read as "//host", and none of our own
// endpoints, which would loop.
func (h *Handler) returnTarget(target string) string {
	if len(target) > maxReturn {
		target = shorten(target)
	}
	if len(target) > maxReturn || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return "/"
	}
	for i := range len(target) {
		// browsers take a backslash for a slash and drop tabs and line breaks
		if c := target[i]; c <= 0x20 || c > 0x7e || c == '\\' || c == '#' {
			return "/"
		}
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || hasDots(u.Path) {
		return "/" // browsers would resolve dots, to "//host" for example
	}
	if u.Path == h.paths.callback || strings.HasPrefix(u.Path, path.Dir(h.paths.login)+"/") {
		return "/"
	}
	return target
}

// shorten makes a return target that is too long shorter: without its query,
// and then the start of the site.
func shorten(target string) string {
	if short, _, found := strings.Cut(target, "?"); found {
		return short
	}
	return "/"
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
	plain = appendTime(plain, l.fresh)
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
		done:        r.flag(),
		started:     r.time(),
		fresh:       r.time(),
		state:       r.text(),
		verifier:    r.secret(),
		redirectURI: r.text(),
		returnTo:    r.text(),
	}
	if r.failed || r.rest != "" {
		return nil, errBadLogin
	}
	return l, nil
}
