package integration

import (
	"bufio"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestReturnTargets: whatever is asked for, the browser stays on the site, and
// what is harmless comes out as it went in (GHSA-qqxw-m5fj-f7gv,
// GHSA-j7px-6hwj-hpjg, GHSA-5m6c-jp6f-2vcv, GHSA-4mf2-f3wh-gvf2,
// CVE-2024-21497, CVE-2022-23527 alias GHSA-q6f2-285m-gr53, where it left).
// testdata/return-targets.txt says what is asked for.
func TestReturnTargets(t *testing.T) {
	w := start(t, plain, nil)
	// nobody looks at the tokens, and signing them would take most of the time
	w.sim.Set(func(s *simulator.Settings) { s.CheapSignatures = true })
	signedIn := w.signedIn()
	logins := 0
	for _, p := range returnPayloads(t) {
		// on the login URL, then in the login's cookie, then in the callback's answer
		loginURL := w.Site + "/truelayer/login?return=" + url.QueryEscape(p.text)
		w.stays(p, "after a login", w.login(w.browser(), loginURL).location())
		if a := signedIn.navigate(loginURL); a.StatusCode != http.StatusSeeOther {
			t.Errorf("%.100q, signed in: status %d", p.text, a.StatusCode)
		} else {
			w.stays(p, "signed in", a.location())
		}
		// not escaped, as somebody writes it into a link by hand
		a := w.send(http.MethodGet, "/truelayer/login?return="+p.text, append([]string{"Cookie", signedIn.cookies(w.Site)}, asNavigation...)...)
		w.staysSafe(p, "signed in, not escaped", a.location())

		if w.loginByNavigation(p) {
			logins++
		}
		w.checkLinks(p)
	}
	// the others are refused by net/http, ask for another host, or are our own endpoints
	if logins < 500 {
		t.Errorf("only %d navigations led to a login", logins)
	}
	if n, _ := w.app.requests(); n > 0 {
		t.Errorf("%d requests reached the application", n)
	}
}

// loginByNavigation opens the payload itself, as the target of a request that
// Go's own client would refuse to send or clean first, and reports whether that
// led through a login.
func (w *world) loginByNavigation(p returnPayload) bool {
	w.t.Helper()
	sent := w.send(http.MethodGet, p.text, asNavigation...)
	if !strings.HasPrefix(sent.location(), w.AuthServer+"/?") {
		if sent.location() != "" || p.harmless {
			w.t.Errorf("%.100q, opened: %d %s", p.text, sent.StatusCode, sent.location())
		}
		return false
	}
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		w.t.Fatal(err)
	}
	var cookies []string
	for _, c := range sent.Cookies() {
		cookies = append(cookies, "Cookie", c.Name+"="+c.Value)
	}
	back := w.browser().do(http.MethodGet, callback, append(cookies, asNavigation...)...)
	w.stays(p, "opened, after the login", back.location())
	return true
}

var href = regexp.MustCompile(`href="([^"]*)"`)

// checkLinks looks at the links of the answers that are no redirects.
func (w *world) checkLinks(p returnPayload) {
	w.t.Helper()
	loginURL := "/truelayer/login?return=" + url.QueryEscape(p.text)
	w.checkPage(p, "in a frame", w.send(http.MethodGet, loginURL, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"))
	a := w.send(http.MethodGet, loginURL, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
	equal(w.t, "status for a script", a.StatusCode, http.StatusUnauthorized)
	link, _ := a.problem(w.t)["login_url"].(string)
	w.isLoginURL(p, "for a script", link)
}

func (w *world) checkPage(p returnPayload, where string, a *answer) {
	w.t.Helper()
	links := href.FindAllStringSubmatch(a.body, -1)
	if a.StatusCode != http.StatusUnauthorized || len(links) != 1 {
		w.t.Fatalf("%.100q, %s: status %d, %d links: %s", p.text, where, a.StatusCode, len(links), a.body)
	}
	w.isLoginURL(p, where, html.UnescapeString(links[0][1]))
}

func (w *world) isLoginURL(p returnPayload, where, link string) {
	w.t.Helper()
	address, parameters, found := strings.Cut(link, "?")
	if address != w.Site+"/truelayer/login" {
		w.t.Errorf("%.100q, %s: the link leads to %q", p.text, where, link)
	}
	target := "/"
	if found {
		values, err := url.ParseQuery(parameters)
		if err != nil || len(values) != 1 || len(values["return"]) != 1 {
			w.t.Errorf("%.100q, %s: the link leads to %q", p.text, where, link)
		}
		target = values.Get("return")
	}
	w.stays(p, where, target)
}

// stays checks where a browser is sent for a payload.
func (w *world) stays(p returnPayload, where, location string) {
	w.t.Helper()
	if p.harmless && location != p.text {
		w.t.Errorf("%.100q, %s: came out as %.100q", p.text, where, location)
	}
	if location == "" {
		w.t.Errorf("%.100q, %s: no Location", p.text, where)
	}
	w.staysSafe(p, where, location)
}

func (w *world) staysSafe(p returnPayload, where, location string) {
	w.t.Helper()
	if location == "" {
		return
	}
	site, err := url.Parse(w.Site)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := site.Parse(location)
	switch {
	case err != nil:
		w.t.Errorf("%.100q, %s: %q: %v", p.text, where, location, err)
	case u.Scheme != site.Scheme || u.Host != site.Host || u.User != nil:
		w.t.Errorf("%.100q, %s: %.100q leaves for %s", p.text, where, location, u)
	case strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }):
		w.t.Errorf("%.100q, %s: %.100q is not in visible ASCII", p.text, where, location)
	case !strings.HasPrefix(location, "/") || strings.HasPrefix(withoutDots(location), "//"):
		w.t.Errorf("%.100q, %s: %.100q does not begin with exactly one slash", p.text, where, location)
	}
	asked, err := url.PathUnescape(withoutDots(location)) // as Caddy reads what a browser asks for
	if err != nil || asked == "/truelayer" || strings.HasPrefix(asked, "/truelayer/") {
		w.t.Errorf("%.100q, %s: %.100q is one of our own endpoints", p.text, where, location)
	}
}

// withoutDots is the path that a browser asks for: it takes out dot segments,
// escaped ones too (net/url leaves those, and takes one slash too many out of
// "/..//a").
func withoutDots(location string) string {
	location, _, _ = strings.Cut(location, "?")
	var kept []string
	segments := strings.Split(strings.TrimPrefix(location, "/"), "/")
	for i, segment := range segments {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		case ".":
		default:
			kept = append(kept, segment)
			continue
		}
		if i == len(segments)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// send sends a request whose target is sent as it is.
func (w *world) send(method, target string, header ...string) *answer {
	w.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", w.Port))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	lines := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n", method, target, w.Port)
	for field := range slices.Chunk(header, 2) {
		lines += strings.Join(field, ": ") + "\r\n"
	}
	if _, err := io.WriteString(conn, lines+"\r\n"); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	var body []byte
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
	}
	if errors.Is(err, syscall.ECONNRESET) {
		// net/http refuses what it cannot read and closes with the rest unread,
		// which may overtake its answer
		return &answer{&http.Response{StatusCode: http.StatusBadRequest}, ""}
	}
	if err != nil {
		w.t.Fatalf("%.100q: %v", target, err)
	}
	w.secrets.learn(resp)
	return &answer{resp, string(body)}
}

// returnPayload is a line of testdata/return-targets.txt.
type returnPayload struct {
	text     string
	harmless bool // has to come out as it is
}

func returnPayloads(t *testing.T) (payloads []returnPayload) {
	t.Helper()
	file, err := os.ReadFile("testdata/return-targets.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		mark, quoted, _ := strings.Cut(line, " ")
		text, err := strconv.Unquote(`"` + quoted + `"`)
		if err != nil || !strings.Contains("=!*", mark) {
			t.Fatalf("testdata/return-targets.txt: %q: %v", line, err)
		}
		payloads = append(payloads, returnPayload{text, mark == "="})
	}
	return payloads
}
