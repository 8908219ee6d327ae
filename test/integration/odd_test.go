package integration

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// seenByMatchers is a request's target and what each of pathMatchers makes of
// it: p for protected, o for open.
type seenByMatchers struct{ target, want string }

// strange are addresses, each of them the account's for some application. Only
// the matcher that lists what is public protects them all; that is why
// operators are told to do so.
var strange = []seenByMatchers{
	// a suffix
	{"/accounts", "pop"},
	{"/account-x", "pop"},
	{"/account~", "pop"},
	{"/account.json", "pop"},
	{"/account.html", "pop"}, // taken off by Rails, and by others
	// parameters, cut off by servlet containers
	{"/account;", "pop"},
	{"/account;x=y", "pop"},
	{"/account;x/y", "pop"},
	{"/account%3bx", "pop"},
	{"/;/account", "oop"},
	{"/;x=y/account", "oop"},
	{"/%3bx/account", "oop"},
	// backslashes, slashes on Windows
	{"/account%5c", "pop"},
	{"/account%5Cx", "pop"},
	{`/account\x`, "pop"},
	{`/\account`, "oop"},
	{"/%5Caccount", "oop"},
	// what Windows cuts off a name, and what C cuts off a string
	{"/account.", "pop"},
	{"/account..", "pop"},
	{"/account%2e", "pop"},
	{"/account%20", "pop"},
	{"/account+", "pop"},
	{"/account%00", "pop"},
	{"/account%00.html", "pop"},
	{"/%00/account", "oop"},
	{"/account%09", "pop"},
	{"/account%0a", "pop"},
	{"/account%0d%0aX:%20y", "pop"},
	// decoded twice
	{"/account%3f", "pop"},
	{"/account%3Fx", "pop"},
	{"/account%23", "pop"},
	{"/account%23x", "pop"},
	{"/account#x", "pop"},
	{"/%2561ccount", "oop"},
	{"/account%252f", "pop"},
	{"/%252faccount", "oop"},
	// letters and slashes that only look like it, folded by some
	{"/%e2%81%84account", "oop"},
	{"/%ef%bc%8faccount", "oop"},
	{"/%c0%afaccount", "oop"},
	{"/%ef%bd%81ccount", "oop"},
	{"/accoun%e1%b5%80", "oop"},
	// a host in the path
	{"//localhost/account", "oop"},
	// no path
	{"a:http://localhost/account", "ppp"},
	{"http:http://localhost/account?x", "ppp"},
	{"a:HTTPS://other.example/account", "ppp"},
	{"a:a:/account", "ppp"},
	{"http:?/account", "ppp"},
	{"http://localhost", "ppp"},
	// dot segments, resolved by the matchers only
	{"/account/..", "ppp"},
	{"/account/../x", "ppp"},
	{"/account/../public/x", "ppp"},
	{"/account/%2e%2e/public/x", "ppp"},
	{"/account/..%2fpublic%2fx", "ppp"},
	{"/account/x/../../public/x", "ppp"},
	// or by some applications only
	{"/public/..;/account", "ppp"},
	{"/public/..;a=b/account", "ppp"},
	{"/public/%2e%2e;/account", "ppp"},
	{"/public/..%3b/account", "ppp"},
	{"/public/..%5caccount", "ppp"},
	{`/public/..\account`, "ppp"},
	{`/public\..\account`, "ppp"},
	{"/public/%252e%252e/account", "ppp"},
	{"/public/..%252faccount", "ppp"},
	{"/public/..%255caccount", "ppp"},
	{"/.;/account", "ppp"},
	{"/http://localhost/account", "oop"},
	{"*", "ppp"},
}

// TestOddAddresses: with what the example for listed paths adds, none of them
// gets to the application, however the site is built.
func TestOddAddresses(t *testing.T) {
	text, err := os.ReadFile("../../examples/one-part.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	line := func(pattern string) string {
		t.Helper()
		found := regexp.MustCompile(`(?m)^\t` + pattern).FindString(string(text))
		if found == "" {
			t.Fatalf("the example has no %s", pattern)
		}
		return found
	}
	for name, site := range map[string]string{
		"plain": "", "handle": "handle {\n reverse_proxy APP\n }", "route": "route {\n reverse_proxy APP\n }",
		"handle_path": "handle_path /x/* {\n reverse_proxy APP\n }", "rewritten": "rewrite /alias /account",
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) {
				w.Global = line(`order error .*`)
				w.Before = line(`@odd .*`) + "\n" + line(`error @odd .*`)
				w.Matcher = strings.Fields(line(`truelayer .*`))[1]
				w.After = strings.ReplaceAll(site, "APP", w.App)
			})
			for _, s := range strange {
				if s.target[0] != '/' {
					continue
				}
				targets := []string{s.target}
				if s.want == "oop" { // odd anywhere, so below another path as well
					targets = append(targets, "/x"+s.target)
				}
				for _, target := range targets {
					a := w.exchange("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
					if a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusUnauthorized {
						t.Errorf("%s: %d", target, a.StatusCode)
					}
				}
			}
			n, _ := w.app.requests()
			equal(t, "requests that came through", n, 0)
			equal(t, "a public page", w.exchange("GET /public/page.html?x=1;2 HTTP/1.1\r\nHost: localhost\r\n\r\n").StatusCode, http.StatusOK)
			equal(t, "the account", w.browser().fetch(w.Site+"/account").StatusCode, http.StatusUnauthorized)
		})
	}
}
