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

// hostPrefix makes a browser accept a cookie only from this very host, with
// Secure and for all paths, so that no sibling subdomain can plant one
// (RFC 6265bis section 4.1.3.2).
const hostPrefix = "__Host-"

// cookieNames are the names of a handler's cookies.
type cookieNames struct {
	session string
	login   string // prefix; one login cookie for each login in flight
	secure  bool
	host    *hostCookies // of all blocks of the host, nil until it has joined
}

func newCookieNames(configured string, l session.Label, secure bool) cookieNames {
	name := configured
	if name == "" {
		name = defaultName + hex.EncodeToString(l[:labelInName])
	}
	if secure {
		name = hostPrefix + name
	}
	return cookieNames{session: name, login: name + loginInfix, secure: secure}
}

const (
	defaultName = "truelayer-"
	labelInName = 4 // bytes
)

// own tells the module's cookies from the application's: this handler's, those that
// have the default name of any other, and those of the host's other blocks. Browsers send the cookies of all
// the blocks of a host to each of them, and of what a block was named for before
// its configuration changed.
func (c *cookieNames) own(name string) bool {
	return belongsTo(name, c.session) || hasDefaultName(name) || c.host.has(name)
}

// hasDefaultName reports whether a cookie is named as a handler without
// cookie_name names its cookies.
func hasDefaultName(name string) bool {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, hostPrefix), defaultName)
	const digits = 2 * labelInName
	if !ok || len(rest) < digits || strings.Trim(rest[:digits], "0123456789abcdef") != "" {
		return false
	}
	return len(rest) == digits || strings.HasPrefix(rest[digits:], loginInfix)
}

// set sets one of the handler's cookies. A maxAge of zero leaves it to the
// browser's session, a negative one deletes it.
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

// cookiePairs yields the name and value of every cookie in Cookie header
// lines, as they stand there. net/http's parser allocates and drops values
// that it thinks wrong, which are the application's business.
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

// maxSessionCookies bounds how many cookies of the session cookie's name are
// tried. There is more than one only without the __Host- prefix.
const maxSessionCookies = 4

// ownCookies is what there is of the module's cookies in a request.
type ownCookies struct {
	any     bool // whether there are any, of this block or another
	secrets [maxSessionCookies]session.Secret
	n       int
}

// sessions returns the contents of this block's session cookies, the last ones
// first: ours are for the path "/", and browsers send what somebody else has planted
// for a longer path before them (RFC 6265 section 5.4).
func (o *ownCookies) sessions() []session.Secret { return o.secrets[:o.n] }

// find finds the module's cookies in Cookie lines.
func (c *cookieNames) find(lines []string) (found ownCookies) {
	for name, value := range cookiePairs(lines) {
		if name != c.session {
			found.any = found.any || c.own(name)
			continue
		}
		found.any = true
		if secret, ok := decodeSecret(value); ok {
			// further ones push out the first
			copy(found.secrets[1:], found.secrets[:len(found.secrets)-1])
			found.secrets[0] = secret
			found.n = min(found.n+1, len(found.secrets))
		}
	}
	return found
}

// strip takes the module's cookies out of the request's header and leaves every
// other byte of it.
func (c *cookieNames) strip(header http.Header) {
	var kept []string // not in place: see requestState
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
		if c.own(name) {
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

// cookieEncoding is base64url, strict: a value has one spelling.
var cookieEncoding = base64.RawURLEncoding.Strict()

// encodeSecret returns a session cookie's value.
func encodeSecret(secret *session.Secret) string { return cookieEncoding.EncodeToString(secret[:]) }

// decodeSecret reads a session cookie's value.
func decodeSecret(value string) (secret session.Secret, ok bool) {
	if len(value) != cookieEncoding.EncodedLen(len(secret)) {
		return secret, false
	}
	var text [64]byte
	n := copy(text[:], value)
	decoded, err := cookieEncoding.Decode(secret[:], text[:n])
	return secret, err == nil && decoded == len(secret)
}
