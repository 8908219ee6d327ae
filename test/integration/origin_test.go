package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const friend = "https://www.example.com"

func startWithFriend(t *testing.T) *world {
	t.Helper()
	return start(t, plain, func(w *world) { w.Options = "allow_origins " + friend })
}

// TestForeignOrigin: with a session, another origin's page can neither change
// anything nor open a connection (the session cookie is sent to what sibling
// subdomains ask for).
func TestForeignOrigin(t *testing.T) {
	w := startWithFriend(t)
	b := w.signedIn()
	const evil = "https://evil.example.com"
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket"}
	for name, test := range map[string]struct {
		method string
		header []string
		want   int
	}{
		"no browser":                      {"POST", nil, 200},
		"our own page":                    {"POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", w.Site}, 200},
		"our own page, no-referrer":       {"POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, 200},
		"our own page, older browser":     {"POST", []string{"Origin", w.Site}, 200},
		"typed in":                        {"POST", []string{"Sec-Fetch-Site", "none"}, 200},
		"a friend":                        {"POST", []string{"Sec-Fetch-Site", "same-site", "Origin", friend}, 200},
		"a friend, older browser":         {"DELETE", []string{"Origin", friend}, 200},
		"a friend's upgrade":              {"GET", append(upgrade, "Origin", friend), 200},
		"our own upgrade":                 {"GET", append(upgrade, "Origin", w.Site, "Sec-Fetch-Site", "same-origin"), 200},
		"a program's upgrade":             {"GET", upgrade, 200},
		"a sibling":                       {"POST", []string{"Sec-Fetch-Site", "same-site", "Origin", evil}, 403},
		"another site":                    {"PUT", []string{"Sec-Fetch-Site", "cross-site", "Origin", evil}, 403},
		"another site, older browser":     {"PATCH", []string{"Origin", evil}, 403},
		"another site's sandboxed frame":  {"POST", []string{"Origin", "null"}, 403},
		"another site that hides it":      {"DELETE", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"our host over another scheme":    {"POST", []string{"Origin", strings.Replace(w.Site, "http:", "https:", 1)}, 403},
		"another port of ours":            {"POST", []string{"Origin", fmt.Sprintf("http://localhost:%d", w.Port2)}, 403},
		"an origin that begins like ours": {"POST", []string{"Origin", w.Site + ".evil.example.com"}, 403},
		"a friend in capitals":            {"POST", []string{"Origin", strings.ToUpper(friend)}, 403},
		"an unknown method":               {"BREW", []string{"Origin", evil}, 403},
		"a sibling's upgrade":             {"GET", append(upgrade, "Sec-Fetch-Site", "same-site", "Origin", evil), 403},
		"a sibling's upgrade, older":      {"GET", append(upgrade, "Origin", evil), 403},
		"another site reads":              {"GET", []string{"Sec-Fetch-Site", "cross-site", "Origin", evil, "Sec-Fetch-Mode", "no-cors"}, 200},
	} {
		before, _ := w.app.requests()
		a := b.do(test.method, w.Site+"/page", test.header...)
		equal(t, name, a.StatusCode, test.want)
		after, _ := w.app.requests()
		equal(t, name+": requests upstream", after-before, map[bool]int{true: 1, false: 0}[test.want == 200])
		if test.want == 403 {
			equal(t, name+": reason", a.problem(t)["reason"], any("cross_site"))
		}
	}
	// without a session there is nothing to protect: it is asked for as always
	a := w.browser().do("POST", w.Site+"/page", "Origin", evil)
	equal(t, "without a session", a.StatusCode, http.StatusUnauthorized)
}

// TestWebSocketFromElsewhere: a real upgrade ends at the guard, before anything
// is switched.
func TestWebSocketFromElsewhere(t *testing.T) {
	w := startWithFriend(t)
	b := w.signedIn()
	for origin, want := range map[string]string{
		"https://evil.example.com": "HTTP/1.1 403",
		w.Site:                     "HTTP/1.1 101",
		friend:                     "HTTP/1.1 101",
	} {
		w.app.answer(switchProtocols)
		conn, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", w.Port))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: localhost:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Origin: %s\r\nCookie: %s\r\n\r\n", w.Port, origin, b.cookies(w.Site))
		line, err := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		if err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%s: got %q %v, want %s", origin, line, err, want)
		}
	}
	w.awaitUpgrades(2)
}

func switchProtocols(rw http.ResponseWriter, _ *http.Request) {
	conn, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = buffered.Flush()
}

// TestPreflight: a friend's page is told by the module what it may ask, also at
// addresses of the module's own. No preflight request reaches the application:
// it carries no session, and an application that switches protocols on any method
// would open a tunnel to anybody who writes one.
func TestPreflight(t *testing.T) {
	w := startWithFriend(t)
	w.app.answer(switchProtocols)
	ask := func(method, path, origin string, header ...string) *answer {
		if origin != "" {
			header = append(header, "Origin", origin)
		}
		return w.browser().do(method, w.Site+path, append(header, "Authorization", "Bearer forged")...)
	}
	const method, fields = "Access-Control-Request-Method", "Access-Control-Request-Headers"
	for _, path := range []string{"/page", "/truelayer/session", "/truelayer/logout", "/truelayer/login", "/truelayer"} {
		a := ask("OPTIONS", path, friend, method, "PUT", fields, "content-type,x-a")
		equal(t, path, a.StatusCode, http.StatusNoContent)
		for field, want := range map[string]string{
			"Access-Control-Allow-Origin": friend, "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "PUT",
			"Access-Control-Allow-Headers": "content-type,x-a", "Access-Control-Max-Age": "60", "Cache-Control": "no-store",
			"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
		} {
			equal(t, path+": "+field, strings.Join(a.Header.Values(field), ", "), want)
		}
	}
	for _, more := range []string{
		"", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "X-HTTP-Method-Override: PUT\r\nContent-Length: 5\r\n", "Cookie: a=b\r\n",
	} {
		a := w.exchange("OPTIONS /page HTTP/1.1\r\nHost: localhost\r\nOrigin: " + friend + "\r\n" + method + ": PUT\r\n" + more + "\r\nhello")
		equal(t, more, a.StatusCode, http.StatusNoContent)
	}
	for name, a := range map[string]*answer{
		"a stranger":        ask("OPTIONS", "/page", "https://evil.example.com", method, "PUT"),
		"our own page":      ask("OPTIONS", "/page", w.Site, method, "PUT"),
		"no origin":         ask("OPTIONS", "/page", "", method, "PUT"),
		"no question":       ask("OPTIONS", "/page", friend),
		"two questions":     ask("OPTIONS", "/page", friend, method, "PUT", method, "GET"),
		"no method":         ask("OPTIONS", "/page", friend, method, "PUT, GET"),
		"no field's name":   ask("OPTIONS", "/page", friend, method, "PUT", fields, "a b"),
		"too many fields":   ask("OPTIONS", "/page", friend, method, "PUT", fields, strings.Repeat("a,", 2000)),
		"a GET that asks":   ask("GET", "/page", friend, method, "PUT"),
		"an origin twice":   ask("OPTIONS", "/page", "https://evil.example.com", method, "PUT", "Origin", friend),
		"with another case": ask("OPTIONS", "/page", strings.ToUpper(friend), method, "PUT"),
	} {
		equal(t, name, a.StatusCode, http.StatusUnauthorized)
	}
	n, _ := w.app.requests()
	equal(t, "requests that came through", n, 0)
}

// TestPreflightOfPublicPaths: what is not protected the application answers.
func TestPreflightOfPublicPaths(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options, w.Matcher = "allow_origins "+friend, "/account*" })
	a := w.browser().do("OPTIONS", w.Site+"/public", "Origin", friend, "Access-Control-Request-Method", "PUT")
	equal(t, "the application's answer", a.body, "hello")
}

// TestFriendReadsOurAnswers: a friend's script learns from a 401 where to go.
func TestFriendReadsOurAnswers(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "allow_origins " + friend })
	for _, path := range []string{"/page", "/truelayer/session"} {
		for origin, want := range map[string]string{friend: friend, "https://evil.example.com": "", w.Site: ""} {
			a := w.browser().do("GET", w.Site+path, append(asFetch, "Origin", origin)...)
			equal(t, path+" for "+origin, a.Header.Get("Access-Control-Allow-Origin"), want)
			equal(t, path+" for "+origin+": with cookies", a.Header.Get("Access-Control-Allow-Credentials") == "true", want != "")
			equal(t, path+" for "+origin+": varies", slices.Contains(a.Header.Values("Vary"), "Origin"), true)
			equal(t, path+" for "+origin+": varies", slices.Contains(a.Header.Values("Vary"), "Cookie"), true)
		}
	}
	// the application's own answers it marks itself
	b := w.signedIn()
	a := b.do("GET", w.Site+"/page", append(asFetch, "Origin", friend)...)
	equal(t, "status", a.StatusCode, http.StatusOK)
	equal(t, "what is forwarded", a.Header.Get("Access-Control-Allow-Origin"), "")
}

// TestMethodsNotForwarded: no upstream is asked for an echo of the request, which
// would show the token to its visitor, nor for a tunnel.
func TestMethodsNotForwarded(t *testing.T) {
	for _, field := range []string{"", "token_header X-Bank-Token"} {
		w := start(t, plain, func(w *world) { w.Options, w.Matcher = field, "/account*" })
		b, got := w.signedInAt("/account"), w.app.record()
		for _, request := range []string{"TRACE /account", "trace /account", "TRACK /account", "CONNECT /account", "CONNECT localhost:443", "connect /account"} {
			for _, cookie := range []string{"", "Cookie: " + b.cookies(w.Site) + "\r\n"} {
				a := w.exchange(request + " HTTP/1.1\r\nHost: localhost\r\n" + cookie + "Max-Forwards: 0\r\n\r\n")
				equal(t, request, a.StatusCode, http.StatusMethodNotAllowed)
				equal(t, request+": Allow", a.Header.Get("Allow"), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
				equal(t, request+": requests upstream", len(got.take()), 0)
			}
		}
		equal(t, "a method that nobody knows", w.exchange("BREW /account HTTP/1.1\r\nHost: localhost\r\nCookie: "+b.cookies(w.Site)+"\r\n\r\n").StatusCode, http.StatusOK)
	}
}
