package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
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

// TestPreflight: the question of a friend's page goes to the application, which
// answers it, without a token; nobody else's does.
func TestPreflight(t *testing.T) {
	w := startWithFriend(t)
	w.app.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) })
	ask := func(method, origin string, header ...string) *answer {
		return w.browser().do(method, w.Site+"/page", append(header, "Origin", origin, "Authorization", "Bearer forged")...)
	}
	const question = "Access-Control-Request-Method"
	equal(t, "a friend", ask("OPTIONS", friend, question, "PUT").StatusCode, http.StatusNoContent)
	n, got := w.app.requests()
	if n != 1 || got.Header.Get("Authorization") != "" {
		t.Errorf("%d requests; Authorization is %q", n, got.Header.Get("Authorization"))
	}
	// what no browser's preflight has does not get to the application either
	w.exchange("OPTIONS /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOrigin: " + friend + "\r\n" + question + ": PUT\r\n" +
		"X-HTTP-Method-Override: PUT\r\nContent-Length: 5\r\n\r\nhello")
	n, got = w.app.requests()
	if n != 2 || got.ContentLength != 0 || got.Header.Get("X-HTTP-Method-Override") != "" {
		t.Errorf("%d requests; %d bytes, %v", n, got.ContentLength, got.Header)
	}
	for name, a := range map[string]*answer{
		"a stranger":        ask("OPTIONS", "https://evil.example.com", question, "PUT"),
		"our own page":      ask("OPTIONS", w.Site, question, "PUT"),
		"no origin":         ask("OPTIONS", "", question, "PUT"),
		"no question":       ask("OPTIONS", friend),
		"a GET that asks":   ask("GET", friend, question, "PUT"),
		"an origin twice":   ask("OPTIONS", "https://evil.example.com", question, "PUT", "Origin", friend),
		"with another case": ask("OPTIONS", strings.ToUpper(friend), question, "PUT"),
	} {
		equal(t, name, a.StatusCode, http.StatusUnauthorized)
	}
}
