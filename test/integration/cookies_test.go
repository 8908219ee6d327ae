package integration

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// invented is a session cookie's value that nobody has issued.
func invented() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ownCookies returns the browser's session cookie, and those of its logins.
func (b *browser) ownCookies(site string) (session *http.Cookie, logins []*http.Cookie) {
	u, _ := url.Parse(site)
	for _, c := range b.client.Jar.Cookies(u) {
		if strings.Contains(c.Name, "-login-") {
			logins = append(logins, c)
		} else {
			session = c
		}
	}
	return session, logins
}

// wire is a connection for many requests, with bytes that no client sends.
type wire struct {
	w    *world
	conn net.Conn
	read *bufio.Reader
}

func (l *wire) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// ask returns an answer's status and Location, or 400 if the server hung up
// on bytes that it does not take for a request.
func (l *wire) ask(request string) (int, string) {
	l.w.t.Helper()
	if l.conn == nil {
		conn, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", l.w.Port))
		if err != nil {
			l.w.t.Fatal(err)
		}
		l.conn, l.read = conn, bufio.NewReader(conn)
	}
	if _, err := io.WriteString(l.conn, request); err != nil {
		l.w.t.Fatal(err)
	}
	a, err := readAnswer(l.read, "GET")
	if err != nil {
		l.hangUp()
		return http.StatusBadRequest, ""
	}
	l.w.secrets.learn(a.Response)
	if a.Close {
		l.hangUp()
	}
	return a.StatusCode, a.location()
}

// TestHostileCookies: no change of a cookie opens anything, crashes anything
// (CVE-2023-28625), or keeps a visitor from signing in with one click.
func TestHostileCookies(t *testing.T) {
	w := startCounted(t)
	session, _ := w.signedIn().ownCookies(w.Site)
	for !strings.ContainsAny(session.Value, "-_") { // or else another alphabet would be the same
		session, _ = w.signedIn().ownCookies(w.Site)
	}
	before, _ := w.app.requests()

	// each bit of the session cookie, its name included, and each shorter one
	line := &wire{w: w}
	defer line.hangUp()
	guarded := func(what, cookie string) {
		t.Helper()
		status, _ := line.ask("GET /page HTTP/1.1\r\nHost: localhost\r\nCookie: " + cookie + "\r\n\r\n")
		if status != http.StatusUnauthorized && status != http.StatusBadRequest {
			t.Errorf("the session with %s: status %d", what, status)
		}
	}
	whole := session.Name + "=" + session.Value
	eachChange(whole, guarded)
	for what, value := range otherSpellings(session.Value) {
		guarded(what, session.Name+"="+value)
	}
	for what, cookie := range map[string]string{
		"capitals in its name": strings.ToUpper(session.Name) + "=" + session.Value,
		"a prefix":             "__Host-" + whole, "another prefix": "__Secure-" + whole,
		"a suffix":            session.Name + "2=" + session.Value,
		"a login's name":      session.Name + "-login-0123456789abcdef=" + session.Value,
		"a space in its name": session.Name + " =" + session.Value,
		"a comma before it":   "a=b," + whole,
		"a name of its own":   session.Value,
		"an equals sign":      session.Name + "==" + session.Value,
		"RFC 2965 before it":  `$Version="1"; $Path="/" ` + whole,
		"a line break":        "a=b\v" + whole,
	} {
		guarded(what, cookie)
	}
	status, _ := line.ask("GET /page HTTP/1.1\r\nHost: localhost\r\nCookie: " + whole + "\r\n\r\n")
	equal(t, "the session as it is", status, http.StatusOK)
	after, _ := w.app.requests()
	equal(t, "requests upstream", after-before, 1)

	// each bit of a login's, and each shorter one
	v := w.browser()
	callback := w.approve(v, w.Site+"/page")
	_, logins := v.ownCookies(w.Site)
	for !strings.ContainsAny(logins[0].Value, "-_") {
		v = w.browser()
		callback = w.approve(v, w.Site+"/page")
		_, logins = v.ownCookies(w.Site)
	}
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	exchanges := w.sim.CallsGrant("authorization_code")
	refused := func(what, cookie string) {
		t.Helper()
		status, location := line.ask("GET " + u.RequestURI() + " HTTP/1.1\r\nHost: localhost\r\nCookie: " + cookie + "\r\n\r\n")
		if status != http.StatusBadRequest || location != "" {
			t.Errorf("the login with %s: status %d to %q", what, status, location)
		}
	}
	name, value := logins[0].Name, logins[0].Value
	eachChange(name+"="+value, refused)
	for what, value := range otherSpellings(value) {
		refused(what, name+"="+value)
	}
	others := logins
	for others[0].Name == name { // one of a few is drawn
		other := w.browser()
		w.approve(other, w.Site+"/page")
		_, others = other.ownCookies(w.Site)
	}
	refused("another login's name", others[0].Name+"="+value)
	refused("another login's value", name+"="+others[0].Value)
	refused("the session's name", session.Name+"="+value)
	refused("the session's value", name+"="+session.Value)
	refused("a name without its number", strings.TrimRight(name, "0123456789")+"="+value)
	equal(t, "exchanges", w.sim.CallsGrant("authorization_code"), exchanges)
	equal(t, "the login as it is", v.navigate(callback).location(), "/page")
}

// eachChange calls try with each bit of a cookie flipped, and with each of its
// beginnings.
func eachChange(cookie string, try func(what, cookie string)) {
	for i := range cookie {
		for bit := range 8 {
			changed := []byte(cookie)
			changed[i] ^= 1 << bit
			try(fmt.Sprintf("bit %d of byte %d flipped", bit, i), string(changed))
		}
		try(fmt.Sprintf("%d bytes", i), cookie[:i])
	}
}

// otherSpellings are values that decoders other than a strict one take for
// this one.
func otherSpellings(value string) map[string]string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(value) - 1
	return map[string]string{
		"padding":           value + "=",
		"too much padding":  value + "==",
		"quotes":            `"` + value + `"`,
		"a quote":           `"` + value,
		"a comma":           value + ",",
		"a line break":      value[:20] + `\n` + value[20:],
		"an escape":         fmt.Sprintf("%%%02X%s", value[0], value[1:]),
		"a space inside":    value[:20] + " " + value[20:],
		"a NUL":             value + "%00",
		"itself again":      value + value,
		"itself, separated": value + "." + value,
		"hexadecimal":       fmt.Sprintf("%x", value),
		"encoded again":     base64.RawURLEncoding.EncodeToString([]byte(value)),
		"another alphabet":  strings.NewReplacer("-", "+", "_", "/").Replace(value),
		"letters beyond":    value + "é",
		"capitals":          strings.ToUpper(value),
		"small letters":     strings.ToLower(value),
		// which count for nothing if the length is no multiple of four
		"unused bits": value[:last] + string(alphabet[strings.IndexByte(alphabet, value[last])^1]),
	}
}

// TestHostileCookiesHeal: whatever stands before a visitor's own cookies, which
// is where a browser puts what was planted for a longer path, one click on the
// login URL leads through the bank to the page.
func TestHostileCookiesHeal(t *testing.T) {
	w := startCounted(t)
	attacker := w.signedIn()
	theirs, done := attacker.ownCookies(w.Site)
	begun := w.browser()
	w.approve(begun, w.Site+"/")
	_, underWay := begun.ownCookies(w.Site)
	session, login := theirs.Name, theirs.Name+"-login-"
	several := func(n int, cookie func(i int) string) string {
		var cookies []string
		for i := range n {
			cookies = append(cookies, cookie(i))
		}
		return strings.Join(cookies, "; ")
	}
	for what, planted := range map[string]string{
		"nothing":                        "",
		"an empty session":               session + "=",
		"a session without a value":      session,
		"a broken session":               session + "=%%%",
		"an invented session":            session + "=" + invented(),
		"three invented sessions":        several(3, func(int) string { return session + "=" + invented() }),
		"a hundred invented sessions":    several(100, func(int) string { return session + "=" + invented() }),
		"a hundred broken sessions":      several(100, func(i int) string { return session + "=" + invented()[i%42:] + "!" }),
		"the same, padded":               several(100, func(int) string { return session + "=" + invented() + "=" }),
		"a broken login":                 login + "0123456789abcdef=x",
		"a login without a state":        login + "=x",
		"a hundred logins":               several(100, func(i int) string { return fmt.Sprintf("%s%016x=%s", login, i, invented()) }),
		"a hundred logins of one name":   several(100, func(int) string { return login + "0123456789abcdef=" + invented() }),
		"somebody's login under way":     underWay[0].Name + "=" + underWay[0].Value,
		"the same twenty times":          several(20, func(int) string { return underWay[0].Name + "=" + underWay[0].Value }),
		"somebody's finished login":      done[0].Name + "=" + done[0].Value,
		"the same ten times":             several(10, func(int) string { return done[0].Name + "=" + done[0].Value }),
		"separators":                     strings.Repeat(";", 500) + " ; = ; =;;" + strings.Repeat("=", 500) + "; a",
		"a cookie of thousands of bytes": session + "=" + strings.Repeat("A", 8000),
		"a name of thousands of bytes":   login + strings.Repeat("A", 8000) + "=x",
		"bytes that are not ASCII":       session + "=\xff\xfe\x80; " + login + "\xff=\xff",
		"quotes that do not end":         `a="; ` + session + `="; ` + login + `x="`,
	} {
		t.Run(what, func(t *testing.T) {
			plant := []string{}
			if planted != "" {
				plant = []string{"Cookie", planted}
			}
			v := &browser{t: t, client: w.browser().client}
			open := func(target string) *answer {
				t.Helper()
				a := v.do("GET", target, append(plant, asNavigation...)...)
				if a.StatusCode >= http.StatusInternalServerError {
					t.Errorf("%s: status %d", target, a.StatusCode)
				}
				return a
			}
			for _, target := range []string{"/deep/below/page", "/truelayer?code=x&state=y", "/truelayer?error=access_denied&state=y", "/truelayer/logout", "/truelayer/session"} {
				a := open(w.Site + target)
				if got, _ := v.ownCookies(w.Site); got != nil || a.StatusCode == http.StatusSeeOther && !strings.HasPrefix(a.location(), w.AuthServer) {
					t.Fatalf("%s: signed in: %d to %s", target, a.StatusCode, a.location())
				}
			}
			sent := open(w.Site + "/truelayer/login?return=/deep/below/page")
			callback, err := w.sim.Grant(sent.location())
			if err != nil {
				t.Fatalf("status %d, to %q: %v", sent.StatusCode, sent.location(), err)
			}
			equal(t, "the callback leads to", open(callback).location(), "/deep/below/page")
			equal(t, "the page", open(w.Site+"/deep/below/page").body, "hello")
			out := v.do("POST", w.Site+"/truelayer/logout", append(plant, "Sec-Fetch-Site", "same-origin")...)
			equal(t, "signing out", out.location(), "/truelayer/logout?done")
			if own, _ := v.ownCookies(w.Site); own != nil {
				t.Error("the session cookie is left")
			}
		})
	}
	equal(t, "the attacker's own session", attacker.navigate(w.Site+"/").StatusCode, http.StatusOK)
}

// TestOfferedSession: a session cookie that is there before a login, invented
// or an attacker's own, is none of the visitor's after it, and opens nothing
// any more (session fixation, GHSA-f24x-5g9q-753f).
func TestOfferedSession(t *testing.T) {
	w := startCounted(t)
	attacker := w.signedIn()
	theirs, _ := attacker.ownCookies(w.Site)
	site, err := url.Parse(w.Site)
	if err != nil {
		t.Fatal(err)
	}
	for what, offered := range map[string]string{"invented": invented(), "an attacker's": theirs.Value} {
		v := w.browser()
		callback := w.approve(v, w.Site+"/page")
		v.client.Jar.SetCookies(site, []*http.Cookie{{Name: theirs.Name, Value: offered, Path: "/"}}) //nolint:gosec // as browsers send them, without attributes
		equal(t, what+": back to", v.navigate(callback).location(), "/page")
		own, _ := v.ownCookies(w.Site)
		if own == nil || own.Value == offered {
			t.Errorf("%s: the session cookie is %v", what, own)
		}
		equal(t, what+": the visitor", v.navigate(w.Site+"/page").StatusCode, http.StatusOK)
		a := w.browser().do("GET", w.Site+"/page", "Cookie", theirs.Name+"="+offered)
		equal(t, what+": who has offered it", a.StatusCode, http.StatusUnauthorized)
	}
}

// TestHostileCookiesOfTwoBlocks: what one block has issued another one opens
// under no name (lukaszraczylo/traefikoidc #87).
func TestHostileCookiesOfTwoBlocks(t *testing.T) {
	w := start(t, twoBlocks, nil)
	one, two := w.signedInAt("/one"), w.signedInAt("/two")
	ones, _ := one.ownCookies(w.Site)
	twos, _ := two.ownCookies(w.Site)
	if ones.Name == twos.Name {
		t.Fatal("both blocks have the same cookie name")
	}
	open := func(path string, cookies ...string) int {
		return w.browser().do("GET", w.Site+path, "Cookie", strings.Join(cookies, "; ")).StatusCode
	}
	equal(t, "one's session", open("/one", ones.Name+"="+ones.Value), http.StatusOK)
	equal(t, "one's session, at two", open("/two", ones.Name+"="+ones.Value), http.StatusUnauthorized)
	equal(t, "one's session, renamed", open("/two", twos.Name+"="+ones.Value), http.StatusUnauthorized)
	equal(t, "two's session, renamed", open("/one", ones.Name+"="+twos.Value), http.StatusUnauthorized)
	equal(t, "both, swapped", open("/one", ones.Name+"="+twos.Value, twos.Name+"="+ones.Value), http.StatusUnauthorized)
	equal(t, "swapped, and one's own behind", open("/one", ones.Name+"="+twos.Value, ones.Name+"="+ones.Value), http.StatusOK)

	v := w.browser()
	callback := w.approve(v, w.Site+"/one")
	_, logins := v.ownCookies(w.Site)
	renamed := strings.Replace(logins[0].Name, ones.Name, twos.Name, 1) + "=" + logins[0].Value
	exchanges := w.sim.CallsGrant("authorization_code")
	at := w.browser().do("GET", strings.Replace(callback, "/truelayer?", "/second?", 1), append([]string{"Cookie", renamed}, asNavigation...)...)
	equal(t, "one's login, renamed, at two", at.StatusCode, http.StatusBadRequest)
	at = w.browser().do("GET", callback, append([]string{"Cookie", renamed}, asNavigation...)...)
	equal(t, "one's login, renamed", at.StatusCode, http.StatusBadRequest)
	equal(t, "exchanges", w.sim.CallsGrant("authorization_code"), exchanges)
	equal(t, "one's login", v.navigate(callback).location(), "/one")
}

// TestHostileCookiesCost: how many cookies there are costs the store nothing
// (CVE-2024-24814 alias GHSA-hxr6-w4gc-7vvv, where a cookie said how many
// others to read).
func TestHostileCookiesCost(t *testing.T) {
	w := startCounted(t)
	b := w.signedIn()
	own, done := b.ownCookies(w.Site)
	callback := w.approve(w.browser(), w.Site+"/page")
	const mostGets = 4
	many := func(size int, separator string, cookie func(i int) string) string {
		var lines strings.Builder
		lines.WriteString("Cookie: " + cookie(0))
		for i := 1; lines.Len() < size; i++ {
			lines.WriteString(separator + cookie(i))
		}
		return lines.String() + "\r\n"
	}
	for what, cookies := range map[string]func(i int) string{
		"sessions":          func(int) string { return own.Name + "=" + invented() },
		"one session":       func(int) string { return own.Name + "=" + strings.Repeat("A", 43) },
		"broken sessions":   func(int) string { return own.Name + "=x" },
		"logins":            func(i int) string { return fmt.Sprintf("%s-login-%016x=%s", own.Name, i, invented()) },
		"finished logins":   func(int) string { return done[0].Name + "=" + done[0].Value },
		"empty names":       func(int) string { return "=" },
		"the application's": func(i int) string { return fmt.Sprintf("app%d=%d", i, i) },
	} {
		for _, request := range []string{
			"GET /page", "POST /page", "GET /truelayer/login", "GET " + strings.TrimPrefix(callback, w.Site), "GET /truelayer?code=x&state=y",
			"GET /truelayer?error=access_denied&state=y", "POST /truelayer/logout", "GET /truelayer/session",
		} {
			for _, separator := range []string{"; ", "\r\nCookie: "} {
				start := storeGets.Load()
				a := w.exchange(request + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" + rawNavigation + many(15000, separator, cookies) + "\r\n")
				if a.StatusCode >= http.StatusInternalServerError || a.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
					t.Errorf("%s, %s: status %d", request, what, a.StatusCode)
				}
				if gets := storeGets.Load() - start; gets > mostGets {
					t.Errorf("%s, %s: the store was asked %d times", request, what, gets)
				}
			}
		}
		// beyond Caddy's limit it is Caddy that answers, and nothing is looked up
		start := storeGets.Load()
		a, err := w.tryExchange("GET /page HTTP/1.1\r\nHost: localhost\r\n" + many(64<<10, "; ", cookies) + "\r\n")
		if err == nil && a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s beyond the limit: status %d", what, a.StatusCode)
		}
		equal(t, what+" beyond the limit: asked the store", storeGets.Load()-start, 0)
	}
	// behind as many broken ones as there is room for, one's own still counts
	broken := many(14000, "; ", func(int) string { return own.Name + "=x" })
	a := w.exchange("GET /page HTTP/1.1\r\nHost: localhost\r\n" + broken + "Cookie: " + own.Name + "=" + own.Value + "\r\n\r\n")
	equal(t, "one's own, at the end", a.StatusCode, http.StatusOK)
	_, got := w.app.requests()
	if slices.ContainsFunc(got.Header["Cookie"], func(s string) bool { return strings.Contains(s, own.Name+"=") }) {
		t.Error("the application got one of them")
	}
}
