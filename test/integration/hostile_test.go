package integration

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// impostor answers in the auth server's place what a test wants it to, and
// leaves the rest to the simulator.
type impostor struct {
	server  *httptest.Server
	sim     http.Handler
	secrets *secrets

	mu     sync.Mutex
	answer map[string]http.HandlerFunc // by path
	asked  map[string]int
}

const (
	tokenPath  = "/connect/token"
	keySetPath = "/.well-known/openid-configuration/jwks"
)

// startImpostor runs Caddy with an impostor for the auth server.
func startImpostor(t *testing.T, set func(*world)) (*world, *impostor) {
	t.Helper()
	i := &impostor{answer: make(map[string]http.HandlerFunc), asked: make(map[string]int)}
	w := start(t, plain, func(w *world) {
		i.sim, i.secrets = w.sim, &w.secrets
		i.server = httptest.NewServer(i)
		t.Cleanup(i.server.Close)
		w.AuthServer = i.server.URL
		set(w)
	})
	return w, i
}

// ServeHTTP has read the request before it answers, so that whoever answers
// can repeat it, and the client is not busy sending.
func (i *impostor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	answer := i.answer[r.URL.Path]
	i.mu.Unlock()
	if answer == nil {
		i.sim.ServeHTTP(w, r)
		return
	}
	_ = r.ParseForm()
	for _, name := range []string{"code", "code_verifier", "refresh_token"} {
		i.secrets.add(r.PostForm.Get(name))
	}
	answer(w, r)
}

// answers sets what a path is answered with, nil for the simulator's answer.
func (i *impostor) answers(path string, answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer[path] = answer
}

func (i *impostor) calls(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// says answers with a body that calls itself JSON.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// raw answers with bytes that need not be HTTP.
func raw(answer func(conn net.Conn, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		answer(conn, r)
	}
}

// endless writes until the client has had enough.
func endless(start, piece string) http.HandlerFunc {
	return raw(func(conn net.Conn, _ *http.Request) {
		_, err := io.WriteString(conn, start)
		for err == nil {
			_, err = io.WriteString(conn, piece)
		}
	})
}

// elsewhere sends the client to another host, in every way there is.
func elsewhere(status int, host string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+host+r.URL.Path)
		w.Header().Set("Refresh", "0; url=http://"+host)
		w.Header().Set("Content-Location", "http://"+host)
		w.WriteHeader(status)
	}
}

// compressed is a megabyte that nobody asked for, in a kilobyte.
func compressed(t *testing.T, body string) http.HandlerFunc {
	t.Helper()
	var b bytes.Buffer
	packer := gzip.NewWriter(&b)
	_, err := io.WriteString(packer, body+strings.Repeat(" ", 1<<20))
	if err := errors.Join(err, packer.Close()); err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(b.Bytes())
	}
}

// inUTF16 is text with two bytes for each letter.
func inUTF16(text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		b = binary.BigEndian.AppendUint16(b, unit)
	}
	return string(b)
}

// hostileAnswers are a token endpoint's, beside those of
// TestTokenEndpointMisbehaves. None of them is a token or the end of a consent.
func hostileAnswers(t *testing.T, app string) map[string]http.HandlerFunc {
	t.Helper()
	const good = `{"access_token":"canary-token","token_type":"Bearer","expires_in":3600,"refresh_token":"canary-refresh"}`
	instead := func(old, with string) http.HandlerFunc {
		if !strings.Contains(good, old) {
			t.Fatal("not in the answer: " + old)
		}
		return says(strings.Replace(good, old, with, 1))
	}
	status := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			if body != "" {
				_, _ = io.WriteString(w, body)
			}
		}
	}
	spaces := strings.Repeat(" ", 4<<10)
	return map[string]http.HandlerFunc{
		"301 elsewhere":  elsewhere(http.StatusMovedPermanently, app),
		"302 elsewhere":  elsewhere(http.StatusFound, app),
		"303 elsewhere":  elsewhere(http.StatusSeeOther, app),
		"307 elsewhere":  elsewhere(http.StatusTemporaryRedirect, app),
		"308 elsewhere":  elsewhere(http.StatusPermanentRedirect, app),
		"a token, 201":   status(http.StatusCreated, good),
		"a token, 206":   status(http.StatusPartialContent, good),
		"a token, 500":   status(http.StatusInternalServerError, good),
		"nothing, 200":   status(http.StatusOK, ""),
		"nothing, 204":   status(http.StatusNoContent, ""),
		"an error, 200":  says(`{"error":"invalid_grant","error_description":"canary"}`),
		"endless body":   endless("HTTP/1.1 200 OK\r\n\r\n{", spaces),
		"endless chunks": endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n"+spaces+"\r\n"),
		"endless header": endless("HTTP/1.1 200 OK\r\n", "X-Y: z\r\n"),
		"endless hints":  endless("", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
		"a gzip bomb":    compressed(t, good),
		"hanging up": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
		"a reset": raw(func(conn net.Conn, _ *http.Request) {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}),
		"a reset in the body": raw(func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+good)
			_ = conn.(*net.TCPConn).SetLinger(0)
		}),
		"another protocol": raw(func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
		}),
		"the request, as HTML": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<h1>canary</h1><pre>%s</pre>", r.PostForm.Encode())
		},
		"the request, as an error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"canary %[1]s","error_description":%[1]q,"error_uri":%[1]q}`, r.PostForm.Encode())
		},
		"the request, as a token": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":-1}`, r.PostForm.Encode())
		},
		"the request, as a status": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", r.PostForm.Encode())
		}),
		"the request, as a field": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", strings.Repeat(r.PostForm.Encode(), 50))
		}),
		"the request, as a place to go": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nLocation: http://[%s\r\nContent-Length: 0\r\n\r\n", r.PostForm.Encode())
		}),
		"the request, as a trailer": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n%s\r\n\r\n", r.PostForm.Encode())
		}),
		"expiry null":           instead(`3600`, `null`),
		"expiry 0":              instead(`3600`, `0`),
		"expiry exponent":       instead(`3600`, `36e2`),
		"expiry with a point":   instead(`3600`, `3600.0`),
		"expiry of 63 bits":     instead(`3600`, `9223372036854775807`),
		"expiry of a century":   instead(`3600`, `3153600000`),
		"token null":            instead(`"canary-token"`, `null`),
		"token empty":           instead(`canary-token`, ``),
		"token a list":          instead(`"canary-token"`, `["canary-token"]`),
		"token too long":        instead(`canary-token`, strings.Repeat("canary", 4000)),
		"token in UTF-8":        instead(`canary-token`, `canary-töken`),
		"token in Latin-1":      instead(`canary-token`, "canary-t\xf6ken"),
		"type null":             instead(`"Bearer"`, `null`),
		"type mac":              instead(`Bearer`, `mac`),
		"refresh token a break": instead(`canary-refresh`, `canary\r\nrefresh`),
		"refresh token a list":  instead(`"canary-refresh"`, `[]`),
		"scope a list":          instead(`"Bearer"`, `"Bearer","scope":["verification"]`),
		"scope a line break":    instead(`"Bearer"`, `"Bearer","scope":"verification\ncanary"`),
		"a key twice, escaped":  instead(`"Bearer"`, `"Bearer","access_tok\u0065n":"canary"`),
		"keys in capitals":      says(strings.ToUpper(good)),
		"a key in capitals":     instead(`expires_in`, `Expires_In`),
		"UTF-16":                says(inUTF16(good)),
		"a byte order mark":     says("\ufeff" + good),
		"trailing text":         says(good + "canary"),
		"trailing bracket":      says(good + "]"),
		"a list of it":          says("[" + good + "]"),
		"nested a million deep": says(strings.Repeat("[", 1_000_000)),
		"nested 30000 deep":     instead(`3600`, `3600,"x":`+strings.Repeat("[", 30_000)+strings.Repeat("]", 30_000)),
	}
}

// failsCalmly asks for an answer of ours that is an error: it is short, shows
// and sets nothing, and leaves one line with its reason in the log.
func (w *world) failsCalmly(t *testing.T, ask func(string) *answer, target string, status int, reason string) *answer {
	t.Helper()
	since := w.log.mark(t)
	a := ask(target)
	equal(t, "status", a.StatusCode, status)
	if !strings.Contains(a.body, reason) || len(a.body) > 8<<10 {
		t.Errorf("want %s, got %d bytes: %.500s", reason, len(a.body), a.body)
	}
	if strings.Contains(a.body+fmt.Sprint(a.Header), "canary") {
		t.Errorf("the visitor was shown the answer: %v %s", a.Header, a.body)
	}
	equal(t, "cookies", len(a.Header.Values("Set-Cookie")), 0)
	equal(t, "Cache-Control", a.Header.Get("Cache-Control"), "no-store")
	lines := 0
	for line := range strings.SplitSeq(since(), "\n") {
		if strings.Contains(line, `,"reason":"`+reason+`"`) {
			lines++
		}
		if ours := strings.Contains(line, `"logger":"http.handlers.truelayer"`); ours && len(line) > 1<<10 || strings.Contains(line, "canary") {
			t.Errorf("the log repeats the answer, in %d bytes: %.500s", len(line), line)
		}
	}
	equal(t, "lines in the log", lines, 1)
	return a
}

func asPage(t *testing.T, a *answer) {
	t.Helper()
	if a.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("no page of ours: %v", a.Header)
	}
}

func asProblem(t *testing.T, a *answer, reason string) {
	t.Helper()
	p := a.problem(t)
	equal(t, "reason", p["reason"], any(reason))
	equal(t, "status in the body", p["status"], any(float64(a.StatusCode)))
}

// loginFails: a callback ends in the error, for people and for machines, after
// one token request, and no session came of it.
func (w *world) loginFails(t *testing.T, calls func() int, status int, reason string) {
	t.Helper()
	for form, check := range map[string]func(*browser, string){
		"page": func(b *browser, callback string) {
			a := w.failsCalmly(t, b.navigate, callback, status, reason)
			asPage(t, a)
			if !strings.Contains(a.body, "/truelayer/login?return=%2Fpage") {
				t.Errorf("no way to start again: %s", a.body)
			}
		},
		"problem": func(b *browser, callback string) {
			asProblem(t, w.failsCalmly(t, b.fetch, callback, status, reason), reason)
		},
	} {
		b := w.browser()
		callback := w.approve(b, w.Site+"/page")
		before := calls()
		check(b, callback)
		equal(t, form+": a reload", b.navigate(callback).StatusCode, http.StatusBadRequest)
		equal(t, form+": token requests", calls()-before, 1)
		equal(t, form+": the page", b.navigate(w.Site+"/page").StatusCode, http.StatusSeeOther)
	}
}

// refreshFails: a session whose access token has expired waits for better
// times, after one token request, and is not over.
func (w *world) refreshFails(t *testing.T, b *browser, calls func() int) {
	t.Helper()
	since, before := w.log.mark(t), calls()
	a := w.failsCalmly(t, b.fetch, w.Site+"/page", http.StatusServiceUnavailable, "token_unavailable")
	asProblem(t, a, "token_unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	equal(t, "failed attempts in the log", strings.Count(since(), "refreshing an access token failed"), 1)
	a = w.failsCalmly(t, b.navigate, w.Site+"/page", http.StatusServiceUnavailable, "token_unavailable")
	asPage(t, a)
	if a.Header.Get("Refresh") == "" {
		t.Error("the page does not try again by itself")
	}
	// a slow machine may have come to the next attempt already
	if n := calls() - before; n < 1 || n > 2 {
		t.Errorf("%d token requests", n)
	}
}

// shortLived returns browsers with sessions whose access tokens expire soon,
// and a function that waits for that.
func (w *world) shortLived(n int, lifetime time.Duration) (browsers []*browser, expire func()) {
	w.t.Helper()
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = lifetime })
	for range n {
		browsers = append(browsers, w.signedIn())
	}
	end := time.Now().Truncate(time.Second).Add(lifetime) // as it is counted, from the whole second
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Hour })
	return browsers, func() {
		waitUntil(w.t, "the tokens to expire", func() bool { return time.Now().After(end) })
	}
}

// recover waits until the browsers' sessions go on: the next attempts to
// refresh them follow by themselves.
func (w *world) recover(t *testing.T, browsers []*browser) {
	t.Helper()
	for i, b := range browsers {
		waitUntil(t, fmt.Sprintf("session %d to go on", i), func() bool {
			return b.navigate(w.Site+"/page").StatusCode == http.StatusOK
		})
	}
}

// TestHostileTokenEndpoint: whatever answers in the token endpoint's place, at
// a login and at a refresh, is asked once, believed nothing and followed
// nowhere, and leaves nothing of it in what is shown and written. Then all goes
// on as before.
func TestHostileTokenEndpoint(t *testing.T) {
	w, impostor := startImpostor(t, func(w *world) {
		w.Options = "scopes info accounts offline_access"
		w.After = "request_header X-Scopes {http.truelayer.scopes}"
	})
	calls := func() int { return impostor.calls(tokenPath) }
	answers := hostileAnswers(t, w.App)
	browsers, expire := w.shortLived(len(answers)+len(refreshedScopes), time.Second)
	for name, answer := range answers {
		t.Run("login/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, answer)
			w.loginFails(t, calls, http.StatusBadGateway, "auth_server_unavailable")
			impostor.answers(tokenPath, nil)
			w.signedIn()
		})
	}
	expire()
	next := 0
	for name, answer := range answers {
		b := browsers[next]
		next++
		t.Run("refresh/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, answer)
			w.refreshFails(t, b, calls)
		})
	}
	if n, _ := w.app.requests(); n > 0 {
		t.Errorf("the application got %d requests", n)
	}
	for scope, want := range refreshedScopes {
		b := browsers[next]
		next++
		impostor.answers(tokenPath, says(`{"access_token":"opaque","token_type":"Bearer","expires_in":3600`+scope+`}`))
		equal(t, "status with"+scope, b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
		_, got := w.app.requests()
		equal(t, "Authorization with"+scope, got.Header.Get("Authorization"), "Bearer opaque")
		equal(t, "scopes with"+scope, got.Header.Get("X-Scopes"), want)
	}
	impostor.answers(tokenPath, nil)
	w.recover(t, browsers)
}

// refreshedScopes are what a refresh may say, and what the application is told:
// other scopes than were asked for are the auth server's to grant.
var refreshedScopes = map[string]string{
	``:                        "info accounts offline_access",
	`,"scope":null`:           "info accounts offline_access",
	`,"scope":""`:             "info accounts offline_access",
	`,"scope":"info"`:         "info",
	`,"scope":"info balance"`: "info balance",
	`,"scope":"payments"`:     "payments",
}

// TestUntrustedAuthServer: without a TLS connection to the auth server itself
// nothing is sent, and its keys count for nothing.
func TestUntrustedAuthServer(t *testing.T) {
	var reached atomic.Int64
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	secure := func(configure func(*tls.Config)) string {
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // the handshakes fail on purpose
		server.TLS = new(tls.Config)
		configure(server.TLS)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	untrusted := secure(func(*tls.Config) {})
	without := httptest.NewServer(handler)
	t.Cleanup(without.Close)
	for name, test := range map[string]struct{ base, remedy string }{
		"signed by nobody":     {untrusted, "certificate signed by unknown authority"},
		"for another name":     {strings.Replace(untrusted, "127.0.0.1", "localhost", 1), "certificate"},
		"an old version":       {secure(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }), "protocol version"},
		"no TLS at all":        {strings.Replace(without.URL, "http:", "https:", 1), "server gave HTTP response to HTTPS client"},
		"another protocol":     {"https://" + listen(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "220 mail ESMTP\r\n") }), "tls: first record does not look like a TLS handshake"},
		"hanging up":           {"https://" + listen(t, func(net.Conn) {}), ""},
		"nobody":               {"https://" + nobody(t), "connection refused"},
		"nobody, without TLS":  {"http://" + nobody(t), "connection refused"},
		"a reset, without TLS": {"http://" + listen(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }), ""},
	} {
		t.Run("token endpoint/"+name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.AuthServer = test.base })
			w.loginFails(t, uncounted(), http.StatusBadGateway, "auth_server_unavailable")
			if !strings.Contains(w.log.text(t), test.remedy) {
				t.Errorf("the log does not say %q", test.remedy)
			}
		})
		t.Run("key set/"+name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Options = "verify_access_token " + test.base + keySetPath })
			w.loginFails(t, func() int { return w.sim.Calls(simulator.Token) }, http.StatusServiceUnavailable, "token_unverified")
		})
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests came through", n)
	}
}

// uncounted stands for the calls of a server that cannot count them.
func uncounted() func() int {
	n := -1
	return func() int { n++; return n }
}

// listen returns the address of a server that deals with connections, not
// requests. What the client says first it has read.
func listen(t *testing.T, deal func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 64<<10))
				deal(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}

// TestHostileKeySet: with verify_access_token nobody gets a session by a token
// whose signature could not be checked, or is not the auth server's. The key
// set is not followed elsewhere, and nothing that a token names is fetched.
func TestHostileKeySet(t *testing.T) {
	startVerifying := func(t *testing.T) (w *world, i *impostor, set string) {
		t.Helper()
		w, i = startImpostor(t, func(w *world) {
			w.Options = "scopes verification offline_access\n\t\tverify_access_token " + w.AuthServer + keySetPath
		})
		return w, i, w.keySet(t)
	}
	says := func(make func(set string) string) func(*world, string) http.HandlerFunc {
		return func(_ *world, set string) http.HandlerFunc { return says(make(set)) }
	}
	does := func(answer http.HandlerFunc) func(*world, string) http.HandlerFunc {
		return func(*world, string) http.HandlerFunc { return answer }
	}
	for name, answer := range map[string]func(*world, string) http.HandlerFunc{
		"302 elsewhere":     func(w *world, _ string) http.HandlerFunc { return elsewhere(http.StatusFound, w.App) },
		"308 elsewhere":     func(w *world, _ string) http.HandlerFunc { return elsewhere(http.StatusPermanentRedirect, w.App) },
		"a gzip bomb":       func(_ *world, set string) http.HandlerFunc { return compressed(t, set) },
		"endless":           does(endless("HTTP/1.1 200 OK\r\n\r\n{\"keys\":[", strings.Repeat(" ", 4<<10))),
		"an endless header": does(endless("HTTP/1.1 200 OK\r\n", "X-Y: z\r\n")),
		"a reset":           does(raw(func(conn net.Conn, _ *http.Request) { _ = conn.(*net.TCPConn).SetLinger(0) })),
		"an error": does(func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "canary", http.StatusInternalServerError)
		}),
		"UTF-16":            says(inUTF16),
		"a byte order mark": says(func(set string) string { return "\ufeff" + set }),
		"a list":            says(func(set string) string { return "[" + set + "]" }),
		"two sets":          says(func(set string) string { return set + set }),
		"keys of no kind":   says(func(string) string { return `{"keys":"canary"}` }),
		"nested":            says(func(string) string { return strings.Repeat("[", 1_000_000) }),
		"a key in pieces": says(func(set string) string {
			return strings.Replace(set, `"keys":[`, `"keys":[{"kty":"RSA","kid":"`+strings.Repeat("canary", 10_000)+`"},`, 1)
		}),
	} {
		t.Run("unreadable/"+name, func(t *testing.T) {
			w, impostor, set := startVerifying(t)
			impostor.answers(keySetPath, answer(w, set))
			w.loginFails(t, func() int { return impostor.calls(tokenPath) }, http.StatusServiceUnavailable, "token_unverified")
			if n, _ := w.app.requests(); n > 0 {
				t.Errorf("a redirect was followed %d times", n)
			}
			impostor.answers(keySetPath, nil)
			w.signedIn()
		})
	}
	for name, answer := range map[string]func(*world, string) http.HandlerFunc{
		"null":            says(func(string) string { return `null` }),
		"no keys":         says(func(string) string { return `{"keys":[]}` }),
		"null keys":       says(func(string) string { return `{"keys":null}` }),
		"another key":     says(func(set string) string { return strings.Replace(set, `"kid":"`, `"kid":"canary`, 1) }),
		"a shared secret": says(func(string) string { return `{"keys":[{"kty":"oct","kid":"canary","alg":"HS256","k":"Y2FuYXJ5"}]}` }),
		"an unknown kind": says(func(string) string { return `{"keys":[{"kty":"canary"}]}` }),
	} {
		t.Run("useless/"+name, func(t *testing.T) {
			w, impostor, set := startVerifying(t)
			impostor.answers(keySetPath, answer(w, set))
			b := w.browser()
			w.failsCalmly(t, b.navigate, w.approve(b, w.Site+"/page"), http.StatusBadGateway, "token_refused")
			// go-oidc gives a fetch's result once more if asked at once
			waitUntil(t, "the fetch to be over", func() bool {
				return b.fetch(w.approve(b, w.Site+"/page")).StatusCode == http.StatusServiceUnavailable
			})
			// the key may be a new one by now, but nobody is asked twice in a minute
			a := w.failsCalmly(t, b.fetch, w.approve(b, w.Site+"/page"), http.StatusServiceUnavailable, "token_unverified")
			equal(t, "Retry-After", a.Header.Get("Retry-After"), "60")
			equal(t, "key sets fetched", impostor.calls(keySetPath), 1)
		})
	}
	t.Run("forged", func(t *testing.T) {
		w, impostor, set := startVerifying(t)
		forgedTokens(t, w, impostor, set)
	})
}

// forgedTokens come at a login and at a refresh.
func forgedTokens(t *testing.T, w *world, impostor *impostor, set string) {
	t.Helper()
	w.sim.Set(func(s *simulator.Settings) { s.Rotate = true })
	calls := func() int { return impostor.calls(tokenPath) }
	forged := w.forged(t, set)
	// a token of one second may be over before it was checked, in whole seconds
	browsers, expire := w.shortLived(len(forged)+1, 2*time.Second)
	for name, access := range forged {
		t.Run("login/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, says(`{"access_token":"`+access+`","token_type":"Bearer","expires_in":3600}`))
			w.loginFails(t, calls, http.StatusBadGateway, "token_refused")
			impostor.answers(tokenPath, nil)
			w.signedIn()
		})
	}
	// a refreshed token that cannot be trusted is not used, but the refresh token
	// that came with it is kept: the one before is dead
	expire()
	next := 0
	for name, access := range forged {
		b := browsers[next]
		next++
		t.Run("refresh/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, w.refreshedTo(access))
			w.refreshFails(t, b, calls)
		})
	}
	impostor.answers(tokenPath, nil)
	if n, _ := w.app.requests(); n > 0 {
		t.Errorf("the application got %d requests; its address was in tokens", n)
	}
	w.recover(t, browsers[:next])
	equal(t, "key sets fetched", impostor.calls(keySetPath), 1)
	// a key that cannot be had yet
	w.sim.RotateKeys()
	w.refreshFails(t, browsers[next], calls)
}

// refreshedTo is the simulator's answer to a refresh, with another access token
// in it.
func (w *world) refreshedTo(access string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		// its body has been read
		again := httptest.NewRequestWithContext(r.Context(), r.Method, tokenPath, strings.NewReader(r.PostForm.Encode()))
		again.Header, again.Host = r.Header, r.Host
		recorder := httptest.NewRecorder()
		w.sim.ServeHTTP(recorder, again)
		var answer map[string]any
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer["refresh_token"] == nil {
			w.t.Errorf("refreshing: %d %s: %v", recorder.Code, recorder.Body, err)
			return
		}
		answer["access_token"] = access
		_ = json.NewEncoder(rw).Encode(answer)
	}
}

// keySet is the simulator's.
func (w *world) keySet(t *testing.T) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	w.sim.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, keySetPath, nil))
	equal(t, "status of the key set", recorder.Code, http.StatusOK)
	return recorder.Body.String()
}

// forged are tokens with good claims that the auth server did not sign. What
// else can be wrong with one the tests of the package authserver know.
func (w *world) forged(t *testing.T, set string) map[string]string {
	t.Helper()
	var keys struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(set), &keys); err != nil || len(keys.Keys) == 0 {
		t.Fatal(set, err)
	}
	id, address := keys.Keys[0]["kid"], "http://"+w.App+"/jwks"
	modulus, err := base64.RawURLEncoding.DecodeString(keys.Keys[0]["n"])
	if err != nil {
		t.Fatal(err)
	}
	part := func(v map[string]any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	claims := part(map[string]any{
		"iss": w.AuthServer, "client_id": w.ClientID, "aud": "data_api", "sub": "canary",
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	with := func(header map[string]any, key []byte) string {
		header["kid"], header["typ"] = id, "at+jwt"
		content := part(header) + "." + claims
		if key == nil {
			return content + "."
		}
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, content)
		return content + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return map[string]string{
		"none":                     with(map[string]any{"alg": "none"}, nil),
		"HMAC with the public key": with(map[string]any{"alg": "HS256"}, modulus),
		"HMAC with the key set":    with(map[string]any{"alg": "HS256"}, []byte(set)),
		"HMAC under another name":  with(map[string]any{"alg": "RS256"}, modulus),
		"the address of a key":     with(map[string]any{"alg": "RS256", "jku": address, "x5u": address}, modulus),
		"a key of its own": with(map[string]any{"alg": "RS256", "jwk": map[string]any{
			"kty": "RSA", "kid": id, "n": base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xa5}, 256)), "e": "AQAB",
		}}, modulus),
		"opaque":   "canary-opaque",
		"too huge": with(map[string]any{"alg": "RS256", "x": strings.Repeat("x", 8<<10)}, modulus),
	}
}
