package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rawNavigation are the lines of a person who opens a page.
const rawNavigation = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n"

// everyHost is the plain site, but whatever a request calls its host.
var everyHost = strings.NewReplacer("http://localhost:{{.Port}} {", "http://:{{.Port}} {").Replace(plain)

// behindTLS is a site behind somebody who terminates TLS.
var behindTLS = strings.ReplaceAll(everyHost, "{{.Site}}/truelayer", "https://app.example.com/truelayer")

// looks is all of the module's answers that name a host or a scheme, or depend
// on one, for a visitor who sends certain lines; what is random is taken out.
func (w *world) looks(host, lines string) map[string]string {
	w.t.Helper()
	looks := make(map[string]string)
	for what, request := range map[string]string{
		"a page":              "GET /page HTTP/1.1\r\n" + rawNavigation,
		"a fetch":             "GET /page HTTP/1.1\r\n",
		"a frame":             "GET /page HTTP/1.1\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
		"the login URL":       "GET /truelayer/login?return=/page HTTP/1.1\r\n" + rawNavigation,
		"a lost callback":     "GET /truelayer?code=x&state=y HTTP/1.1\r\n" + rawNavigation,
		"a broken callback":   "GET /truelayer HTTP/1.1\r\n" + rawNavigation,
		"a declined callback": "GET /truelayer?error=access_denied HTTP/1.1\r\n",
		"the logout page":     "GET /truelayer/logout HTTP/1.1\r\n" + rawNavigation,
		"a logout":            "POST /truelayer/logout HTTP/1.1\r\nContent-Length: 0\r\n",
		"the session":         "GET /truelayer/session HTTP/1.1\r\n",
	} {
		a := w.exchange(request + host + lines + "\r\n")
		looks[what] = fmt.Sprintf("%d\n%s\n%s\n%s\n%s", a.StatusCode, a.location(), a.Header["Set-Cookie"], a.Header["Www-Authenticate"], a.body)
		looks[what] = supportParts.ReplaceAllString(randomParts.ReplaceAllString(looks[what], "$1…"), "…")
	}
	return looks
}

var (
	// randomParts are a login's state, challenge and cookie, and a request's id.
	randomParts = regexp.MustCompile(`((?:[?&](?:state|code_challenge)=)|-login-|"request_id":")[^&; \n"<]+`)
	// supportParts are the id and the time of a request on a page.
	supportParts = regexp.MustCompile(`<dd>[0-9a-f-]{32,36}</dd>|<time .*</time>`)
)

// TestForwardedFields: whoever sends them, the fields in which proxies tell what
// a client has asked for choose neither host nor scheme of a redirect URI, a
// cookie's attributes, a login URL or a page (CVE-2024-21498, CVE-2024-21499).
// That trusted_proxies trusts the peer changes nothing.
func TestForwardedFields(t *testing.T) {
	forged := map[string]string{
		"host":                  "X-Forwarded-Host: evil.example\r\n",
		"host and port":         "X-Forwarded-Host: evil.example:8443\r\n",
		"two hosts":             "X-Forwarded-Host: localhost, evil.example\r\nX-Forwarded-Host: evil.example\r\n",
		"https":                 "X-Forwarded-Proto: https\r\n",
		"http":                  "X-Forwarded-Proto: http\r\n",
		"another scheme":        "X-Forwarded-Proto: javascript\r\nX-Forwarded-Scheme: https\r\nX-Url-Scheme: https\r\nFront-End-Https: on\r\nX-Forwarded-Ssl: on\r\n",
		"port":                  "X-Forwarded-Port: 8443\r\n",
		"prefix":                "X-Forwarded-Prefix: /evil\r\nX-Script-Name: /evil\r\n",
		"address":               "X-Forwarded-For: 203.0.113.9, 127.0.0.1\r\nX-Real-Ip: 203.0.113.9\r\nCf-Connecting-Ip: 203.0.113.9\r\nTrue-Client-Ip: 203.0.113.9\r\n",
		"a broken address":      "X-Forwarded-For: ,,unknown, [::, 999.1.1.1, 203.0.113.9:99999\r\n",
		"RFC 7239":              "Forwarded: for=203.0.113.9;host=evil.example;proto=https, for=\"[2001:db8::9]\";host=evil.example\r\n",
		"another server":        "X-Forwarded-Server: evil.example\r\nX-Host: evil.example\r\nX-Original-Host: evil.example\r\nX-Http-Host-Override: evil.example\r\n",
		"where it was":          "Origin: https://evil.example\r\nReferer: https://evil.example/\r\n",
		"all of them":           "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /evil\r\nForwarded: host=evil.example;proto=https\r\n",
		"all of them, dropped":  "X_Forwarded_Host: evil.example\r\nX.Forwarded.Proto: https\r\n",
		"hop by hop":            "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nConnection: X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-For\r\n",
		"with a break":          "X-Forwarded-Host: evil.example%0d%0aSet-Cookie:a=b\r\n",
		"with a page's content": "X-Forwarded-Host: \"><script>alert(1)</script>\r\n",
	}
	for trust, global := range map[string]string{"nobody": "", "the peer": "servers {\n trusted_proxies static 127.0.0.0/8 ::1/128\n }"} {
		for name, site := range map[string]string{"http": plain, "behind TLS": behindTLS} {
			t.Run(name+", trusting "+trust, func(t *testing.T) {
				w := start(t, site, func(w *world) { w.Global = global })
				host := "Host: localhost\r\n"
				if site == behindTLS {
					host = "Host: app.example.com\r\n"
				}
				usual := w.looks(host, "")
				secure := strings.Contains(usual["a page"], "__Host-truelayer-") && strings.Contains(usual["a page"], "; Secure")
				equal(t, "Secure", secure, site == behindTLS)
				for what, lines := range forged {
					for where, got := range w.looks(host, lines) {
						if want := usual[where]; got != want && (what != "where it was" || where != "a logout") { // that one is refused
							t.Errorf("%s: %s: got %s\nwant %s", what, where, got, want)
						}
					}
				}
				if site == behindTLS {
					return // its logins end elsewhere
				}
				b, got := w.signedIn(), w.app.record()
				for what, lines := range forged {
					// a whole login
					sent := w.exchange("GET /page HTTP/1.1\r\n" + host + rawNavigation + lines + "\r\n")
					callback, err := w.sim.Grant(sent.location())
					if err != nil {
						t.Fatal(err)
					}
					u, err := url.Parse(callback)
					if err != nil {
						t.Fatal(err)
					}
					cookie, _, _ := strings.Cut(sent.Header.Get("Set-Cookie"), ";")
					back := w.exchange("GET " + u.RequestURI() + " HTTP/1.1\r\n" + host + "Cookie: " + cookie + "\r\n" + rawNavigation + lines + "\r\n")
					equal(t, what+": back to", back.location(), "/page")

					// and with a session
					session := "Cookie: " + b.cookies(w.Site) + "\r\n"
					equal(t, what+": a session", w.exchange("GET / HTTP/1.1\r\n"+host+session+lines+"\r\n").StatusCode, http.StatusOK)
					forwarded := got.take()[0].header.Get("X-Forwarded-Host")
					if what == "host" && (forwarded == "evil.example") != (global != "") {
						t.Errorf("the application got X-Forwarded-Host %q: the test trusts the wrong peer", forwarded)
					}
					cross := "POST / HTTP/1.1\r\n" + host + session + "Content-Length: 0\r\nOrigin: https://evil.example\r\n"
					if what != "where it was" {
						equal(t, what+": another origin", w.exchange(cross+lines+"\r\n").StatusCode, http.StatusForbidden)
						equal(t, what+": requests upstream", len(got.take()), 0)
					}
				}
			})
		}
	}
}

// TestHostHeader: whatever a client calls the host, the answers name the
// configured one, and nothing breaks.
func TestHostHeader(t *testing.T) {
	const nobody = 0 // no site has the name: Caddy's own empty 200
	w := start(t, everyHost, nil)
	usual := w.looks("Host: localhost\r\n", "")
	ours := []string{"with its port", "with another port", "with no port", "capitals", "spaces around"}
	for what, host := range map[string]string{
		"with its port":             fmt.Sprintf("Host: localhost:%d\r\n", w.Port),
		"with another port":         "Host: localhost:1\r\n",
		"with no port":              "Host: localhost:\r\n",
		"with a port that is none":  "Host: localhost:evil\r\n",
		"capitals":                  "Host: LOCALHOST\r\n",
		"trailing dot":              "Host: localhost.\r\n",
		"another host":              "Host: evil.example\r\n",
		"an address":                "Host: 127.0.0.1\r\n",
		"an IPv6 address":           "Host: [::1]\r\n",
		"an address with a zone":    "Host: [fe80::1%25eth0]\r\n",
		"a broken address":          "Host: [::1\r\n",
		"punycode":                  "Host: xn--lcalhost-r7a.example\r\n",
		"broken punycode":           "Host: xn--.xn--\r\n",
		"a comma":                   "Host: localhost,evil.example\r\n",
		"quotes and parentheses":    "Host: localhost'()*!$&;=\r\n",
		"escapes":                   "Host: localhost%2f%2eevil.example%00\r\n",
		"underscores":               "Host: _local_host_\r\n",
		"very long":                 "Host: " + strings.Repeat("a", 5000) + ".example\r\n",
		"many labels":               "Host: " + strings.Repeat("a.", 1000) + "\r\n",
		"spaces around":             "Host:    localhost  \r\n",
		"with the name in capitals": "HOST: evil.example\r\n",
	} {
		for where, got := range w.looks(host, "") {
			want := usual[where]
			if (where == "a page" || where == "the login URL") && !slices.Contains(ours, what) { // first to the redirect URI's host, without a cookie here
				want = "303\n" + w.Site + "/truelayer/login?moved=1&return=%2Fpage\n[]\n[]\n"
			}
			if got != want {
				t.Errorf("%s: %s: got %s\nwant %s", what, where, got, want)
			}
		}
	}
	// what net/http and Caddy refuse
	for what, host := range map[string]string{ //nolint:gosec // host names
		"none":                       "",
		"empty":                      "Host:\r\n",
		"spaces":                     "Host:   \r\n",
		"two":                        "Host: localhost\r\nHost: localhost\r\n",
		"two that differ":            "Host: localhost\r\nHost: evil.example\r\n",
		"two in two cases":           "Host: localhost\r\nhOST: evil.example\r\n",
		"folded":                     "Host: localhost\r\n evil.example\r\n",
		"a user":                     "Host: evil@localhost\r\n",
		"a user and a password":      "Host: localhost:x@evil.example\r\n",
		"a path":                     "Host: localhost/evil\r\n",
		"a backslash":                "Host: localhost\\evil\r\n",
		"a query":                    "Host: localhost?evil\r\n",
		"a fragment":                 "Host: localhost#evil\r\n",
		"an address with a scheme":   "Host: http://evil.example\r\n",
		"a space inside":             "Host: localhost evil.example\r\n",
		"a tag":                      "Host: <script>alert(1)</script>\r\n",
		"letters that are not ASCII": "Host: löcalhost\r\n",
		"a NUL":                      "Host: localhost\x00.evil.example\r\n",
		"a dot":                      "Host: .\r\n",
		"dots":                       "Host: ...\r\n",
		"dots and a port":            "Host: ..:80\r\n",
	} {
		for _, target := range []string{"/page", "/truelayer?code=x&state=y", "/truelayer/login"} {
			w.refuses(what, "GET "+target+" HTTP/1.1\r\n"+rawNavigation+host+"\r\n")
		}
	}
	got := w.app.record()

	// a request target with a host of its own, which then counts in place of Host
	for target, back := range map[string]string{
		"http://evil.example/page?a=b":            "/page?a=b",
		"https://evil.example/page":               "/page",
		"http://user:pass@evil.example/page":      "/page",
		"http://evil.example:99/page":             "/page",
		"http://evil.example//evil.example/page":  "/",
		"http://evil.example/\\evil.example/page": "/%5Cevil.example/page",
		"http://evil.example":                     "/",
		"http://evil.example?page":                "/",
		"http://evil.example/#/page":              "/%23/page",
		"//evil.example/page":                     "/",
		"/page?//evil.example/":                   "/page?//evil.example/",
		"/@evil.example/page":                     "/@evil.example/page",
		"/.evil.example/page":                     "/.evil.example/page",
		"javascript://evil.example/page":          "/page",
		"file:///page":                            "/page",
		"http://":                                 "/",
		"http:page":                               "/",
	} {
		for _, host := range []string{"localhost", "evil.example"} {
			sent := w.exchange("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + rawNavigation + "\r\n")
			equal(t, target+": status", sent.StatusCode, http.StatusSeeOther)
			if login, elsewhere := strings.CutPrefix(sent.location(), w.Site+"/truelayer/login"); elsewhere {
				equal(t, target+": cookies", len(sent.Cookies()), 0)
				sent = w.exchange("GET /truelayer/login" + login + " HTTP/1.1\r\nHost: " + host + "\r\n" + rawNavigation + "\r\n")
			}
			equal(t, target+": redirect_uri", query(t, sent.location()).Get("redirect_uri"), w.Site+"/truelayer")
			callback, err := w.sim.Grant(sent.location())
			if err != nil {
				t.Fatal(err)
			}
			cookie, _, _ := strings.Cut(sent.Header.Get("Set-Cookie"), ";")
			landed := w.browser().do("GET", callback, append([]string{"Cookie", cookie}, asNavigation...)...)
			equal(t, target+": back to", landed.location(), back)
			if len(landed.Cookies()) != 2 || slices.ContainsFunc(landed.Cookies(), func(c *http.Cookie) bool { return c.Domain != "" || c.Path != "/" }) {
				t.Errorf("%s: cookies %v", target, landed.Cookies())
			}
		}
	}
	for _, target := range []string{"http://[::1/page", "http://ev il.example/page", "http://evil.example:x/page", "://page", "http://\x00/", "http://.../page", "http://%zz/page"} {
		w.refuses(target, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n"+rawNavigation+"\r\n")
	}
	equal(t, "requests upstream", len(got.take()), 0)

	// where the site has a name, others are none of its business
	w = start(t, plain, nil)
	for host, status := range map[string]int{
		"localhost": http.StatusSeeOther, "LOCALHOST:1": http.StatusSeeOther, "localhost.": nobody, "evil.example": nobody, "localhost.evil.example": nobody, "evil.localhost": nobody,
	} {
		a := w.exchange("GET /page HTTP/1.1\r\nHost: " + host + "\r\n" + rawNavigation + "\r\n")
		if status == nobody {
			equal(t, host, fmt.Sprint(a.StatusCode, a.location(), a.body, a.Header["Set-Cookie"]), "200[]")
			continue
		}
		equal(t, host, a.StatusCode, status)
		equal(t, host+": redirect_uri", query(t, a.location()).Get("redirect_uri"), w.Site+"/truelayer")
	}
	equal(t, "requests upstream", func() int { n, _ := w.app.requests(); return n }(), 0)
}
