package truelayer

import (
	"encoding/base64"
	"encoding/hex"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// hostPrefix makes a browser accept a cookie only if this host sets it, with Secure
// and for all paths, so that no sibling subdomain can plant one (RFC 6265bis section
// 4.1.3.2).
const hostPrefix = "__Host-"

// cookieNames holds the names of a block's cookies.
type cookieNames struct {
	session string
	login   string // prefix of the login cookies' names
	bank    string // of the cookie with the bank that was connected last
	form    string // of the cookie that belongs to the forms of pages
	secure  bool
	host    *hostCookies // of all blocks on the host; nil until the block has joined
}

func newCookieNames(configured string, l session.Label, secure bool) cookieNames {
	name := configured
	if name == "" {
		name = defaultName + hex.EncodeToString(l[:labelInName])
	}
	if secure {
		name = hostPrefix + name
	}
	return cookieNames{session: name, login: name + loginInfix, bank: name + bankSuffix, form: name + formSuffix, secure: secure}
}

const (
	defaultName = "truelayer-"
	labelInName = 4 // bytes
)

// isModuleCookie reports whether a cookie is the module's rather than the
// application's. Browsers send the cookies of all blocks on a host to each of them,
// and cookies that a block set before its configuration changed. So the module's
// cookies are those of this block, those with a block's default name, and those of the
// other blocks on the host.
func (c *cookieNames) isModuleCookie(name string) bool {
	return belongsTo(name, c.session) || hasDefaultName(name) || c.host.has(name)
}

// hasDefaultName reports whether a cookie has a name that a block without cookie_name
// gives its cookies.
func hasDefaultName(name string) bool {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, hostPrefix), defaultName)
	const digits = 2 * labelInName
	if !ok || len(rest) < digits || strings.Trim(rest[:digits], "0123456789abcdef") != "" {
		return false
	}
	return isOwnSuffix(rest[digits:])
}

// set sets one of the block's cookies. With a maxAge of zero the cookie lasts until the
// browser is closed; a negative one deletes it.
func (c *cookieNames) set(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	seconds := int(maxAge / time.Second)
	if maxAge < 0 {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure is off for loopback hosts on plain http only
		Name:     name,
		Value:    value,
		Path:     "/",
		MaxAge:   seconds,
		Secure:   c.secure,
		HttpOnly: true,
		// the return from the bank is a cross-site navigation, so not Strict
		SameSite: http.SameSiteLaxMode,
	})
}

// cookiePairs yields the name and value of every cookie in the lines of a Cookie field,
// unchanged. The parser of net/http allocates, and drops values that it considers
// invalid, which an application may accept.
func cookiePairs(lines []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, line := range lines {
			for line != "" {
				var pair string
				pair, line, _ = strings.Cut(line, ";")
				name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
				if !yield(name, value) {
					return
				}
			}
		}
	}
}

// maxSessionCookies bounds how many cookies with the session cookie's name are tried.
// There can be more than one only without the __Host- prefix.
const maxSessionCookies = 4

// ownCookies holds what a request has in the module's cookies.
type ownCookies struct {
	any     bool // whether there are any, of this block or another
	secrets [maxSessionCookies]session.Secret
	n       int
}

// sessionSecrets returns the secrets in this block's session cookies, the last cookie
// first. The module sets its cookies for the path "/", and browsers send a cookie that
// somebody planted for a longer path before it (RFC 6265 section 5.4).
func (o *ownCookies) sessionSecrets() []session.Secret { return o.secrets[:o.n] }

// find returns what the lines of a Cookie field have in the module's cookies.
func (c *cookieNames) find(lines []string) (found ownCookies) {
	for name, value := range cookiePairs(lines) {
		if name != c.session {
			found.any = found.any || c.isModuleCookie(name)
			continue
		}
		found.any = true
		if secret, ok := decodeSecret(value); ok {
			// the last come first, and push out the earliest
			copy(found.secrets[1:], found.secrets[:len(found.secrets)-1])
			found.secrets[0] = secret
			found.n = min(found.n+1, len(found.secrets))
		}
	}
	return found
}

// bankLifetime is how long a browser remembers a bank. A consent lasts as long.
const bankLifetime = 90 * 24 * time.Hour

// rememberBank has the browser remember the bank that was connected.
func (c *cookieNames) rememberBank(w http.ResponseWriter, provider string) {
	c.set(w, c.bank, provider, bankLifetime)
}

// rememberedBank returns the bank that the browser remembers, "" if it remembers none.
// Whoever can set cookies can choose it, so it only selects one of the banks that are
// offered.
func (c *cookieNames) rememberedBank(lines []string) (provider string) {
	for name, value := range cookiePairs(lines) {
		if name == c.bank {
			provider = value
		}
	}
	return provider
}

// forgetBank has the browser forget the bank, if it remembers one.
func (c *cookieNames) forgetBank(w http.ResponseWriter, lines []string) {
	if c.rememberedBank(lines) != "" {
		c.set(w, c.bank, "", -1)
	}
}

// strip removes the module's cookies from a request's header and leaves every other
// byte of its Cookie lines unchanged.
func (c *cookieNames) strip(header http.Header) {
	var kept []string // a new slice, since requestState keeps the original lines
	for _, line := range header["Cookie"] {
		if line = c.stripLine(line); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(header, "Cookie")
	} else {
		header["Cookie"] = kept
	}
}

func (c *cookieNames) stripLine(line string) string {
	var kept []string
	stripped := false
	for pair := range strings.SplitSeq(line, ";") {
		name, _, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if c.isModuleCookie(name) {
			stripped = true
			continue
		}
		kept = append(kept, pair)
	}
	if !stripped {
		return line
	}
	return strings.TrimLeft(strings.Join(kept, ";"), " \t")
}

// cookieEncoding is strict base64url, so that every value has only one encoding.
var cookieEncoding = base64.RawURLEncoding.Strict()

// encodeSecret returns the value of the session cookie for a secret.
func encodeSecret(secret *session.Secret) string { return cookieEncoding.EncodeToString(secret[:]) }

// decodeSecret returns the secret in the value of a session cookie.
func decodeSecret(value string) (secret session.Secret, ok bool) {
	if len(value) != cookieEncoding.EncodedLen(len(secret)) {
		return secret, false
	}
	var text [64]byte
	n := copy(text[:], value)
	decoded, err := cookieEncoding.Decode(secret[:], text[:n])
	return secret, err == nil && decoded == len(secret)
}
