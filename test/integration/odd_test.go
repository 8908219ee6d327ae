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
// the matcher that lists what is public protects them all: what an application
// makes of a suffix, for example, nobody else knows.
var strange = []seenByMatchers{
	// a suffix
	{"/accounts", "pop"},
	{"/account-x", "pop"},
	{"/account~", "pop"},
	{"/account.json", "pop"},
	{"/account.html", "pop"}, // taken off by Rails, and by others
	// parameters, cut off by servlet containers
	{"/account;", "ppp"},
	{"/account;x=y", "ppp"},
	{"/account;x/y", "ppp"},
	{"/account%3bx", "ppp"},
	{"/;/account", "ppp"},
	{"/;x=y/account", "ppp"},
	{"/%3bx/account", "ppp"},
	// backslashes, slashes on Windows
	{"/account%5c", "ppp"},
	{"/account%5Cx", "ppp"},
	{`/account\x`, "ppp"},
	{`/\account`, "ppp"},
	{"/%5Caccount", "ppp"},
	// what Windows cuts off a name, and what C cuts off a string
	{"/account.", "ppp"},
	{"/account..", "ppp"},
	{"/account%2e", "ppp"},
	{"/account%20", "ppp"},
	{"/account+", "pop"},
	{"/account%00", "ppp"},
	{"/account%00.html", "ppp"},
	{"/%00/account", "oop"},
	{"/account%09", "ppp"},
	{"/account%0a", "ppp"},
	{"/account%0d%0aX:%20y", "pop"},
	// decoded twice
	{"/account%3f", "ppp"},
	{"/account%3Fx", "ppp"},
	{"/account%23", "ppp"},
	{"/account%23x", "ppp"},
	{"/account#x", "ppp"},
	{"/%2561ccount", "ppp"},
	{"/account%252f", "ppp"},
	{"/%252faccount", "ppp"},
	// letters and slashes that only look like it, folded by some
	{"/%e2%81%84account", "oop"},
	{"/%ef%bc%8faccount", "ppp"},
	{"/%c0%afaccount", "ppp"},
	{"/%ef%bd%81ccount", "oop"},
	{"/accoun%e1%b5%80", "oop"},
	// a host in the path
	{"//localhost/account", "ppp"},
	{"//user:password@public/account", "ppp"},
	{"//public/account", "ppp"},
	{"///public/account", "ppp"},
	{"http://localhost//public/account", "ppp"},
	{"/%2fpublic/account", "ppp"},
	{"/%252fpublic/account", "ppp"},
	{`/\public/account`, "ppp"},
	{"/%5cpublic/account", "ppp"},
	{"/%5c%5cpublic/account", "ppp"},
	{"/%09/public/account", "ppp"},
	{"/;x/public/account", "ppp"},
	{"//", "ppp"},
	{"//public//x", "ppp"},
	// a broken escape, before or behind what matters
	{"/public/%25zz/%252e%252e/%252e%252e/account", "ppp"},
	{"/public/%252e%252e/account/%25", "ppp"},
	{"/public/%25%32%35zz", "ppp"},
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
