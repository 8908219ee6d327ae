package integration

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
)

// pathMatchers are ways to say which paths are protected: two that list them,
// and the one that operators are told to use, which lists the others.
var pathMatchers = []string{"/account*", "@bank", "@private"}

const definePathMatchers = `
	@bank path /account /account/*
	@private not path / /public/*
`

func startWithPaths(t *testing.T, matcher string, set func(*world)) *world {
	t.Helper()
	return start(t, plain, func(w *world) {
		w.Before, w.Matcher = definePathMatchers, matcher
		if set != nil {
			set(w)
		}
	})
}

// isAccount reports whether an application that reads a path as it stands, or
// that resolves it first, takes it for the account's.
func isAccount(p string) bool {
	for _, p := range []string{p, path.Clean("/" + p)} {
		if p = strings.ToLower(p); p == "/account" || strings.HasPrefix(p, "/account/") {
			return true
		}
	}
	return false
}

// TestProtectedPaths: no way to write a protected path leads past the guard,
// nor does anything that stands beside the path. Others have let the fragment
// (GHSA-pxq7-h93f-9jrg), the query (GHSA-7rh7-c77v-6434), a header that names
// another path (GHSA-7x63-xv5r-3p2x alias CVE-2026-40575), or a health check's
// name (GHSA-5hvv-m4w4-gf6v, most likely CVE-2026-34457) decide.
//
// Which paths are the protected ones Caddy's path matcher decides: it decodes
// once, ignores case, merges slashes, and resolves dot segments.
func TestProtectedPaths(t *testing.T) {
	// each of them is the account's for an application that reads as Caddy does
	account := []string{
		"/account", "/account/", "/account/x", "/account?", "/account?x", "/account?/public/x", "/account/?", "/account/#", "/account/#/public/x",
		"/ACCOUNT", "/Account/X", "/%61ccount", "/%41CCOUNT", "/acc%6Funt/x", "/account%2f", "/account%2Fx", "/%2Faccount",
		"//account", "///account//x", "/account//", "//account?/public/x", "/%2f%2faccount",
		"/./account", "/%2e/account", "/x/../account", "/x/%2e%2e/account", "/x/%2E./account", "/x%2f..%2faccount", "/../account", "/../../account",
		"/account/.", "/account/x/..", "/account/x/../", "/account/%2e", "/account/x/%2e%2e/y",
		"/public/../account", "/public/%2e%2e/account", "/public/..%2faccount", "/public%2f..%2faccount", "/public/%2e%2e%2faccount", "/PUBLIC/../ACCOUNT",
		"/public/x/../../account", "/public//../account", "/public/..//account", "/public/x%3f/../../account", "/public/x%23/../../account",
		"/x;/../account", "/public;/../account", `/x\/../account`, "/x%00/../account",
		"http://localhost/account", "HTTP://LOCALHOST/account", "http://localhost//account", "http://localhost/public/../account", "http:///account", "javascript:/account",
	}
	// each of them is refused before any handler sees it
	refused := []string{"account", "account/x", "?/account", "/account%", "/account%zz", "/account%u0041", "/public/ /../account", "/account\x00", "/account\x7f"}

	// each of them is public, and stays so
	public := []seenByMatchers{
		{"/", "ooo"},
		{"/?/account", "ppp"},
		{"/?x#/account", "ooo"},
		{"/public/", "ooo"},
		{"/public/x", "ooo"},
		{"/PUBLIC/x", "ooo"},
		{"/public//x", "ooo"},
		{"/public/x;y=/account", "ooo"},
		{"/public/C%23.pdf", "ooo"},
		{"/public/%5Bid%5D%2Fx", "ooo"},
		{"/public/%e9", "ooo"},
		{"/public/account", "ooo"},
		{"/public/x?/../../account", "ppp"},
		{"/public/?path=/account", "ooo"},
		{"/public", "oop"},
		{"/publicity", "oop"},
		{"/x/account", "oop"},
		{"/bank/account", "oop"},
	}
	for i, matcher := range pathMatchers {
		t.Run(matcher, func(t *testing.T) {
			w := startWithPaths(t, matcher, nil)
			got := w.app.record()
			check := func(target string, want byte, more string) {
				t.Helper()
				a := w.exchange("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n")
				equal(t, fmt.Sprintf("%q %q", target, more), a.StatusCode, map[byte]int{'p': http.StatusUnauthorized, 'o': http.StatusOK}[want])
				for _, seen := range got.take() {
					if want == 'p' || isAccount(seen.path) {
						t.Errorf("%q %q: the application got %q, path %q", target, more, seen.target, seen.path)
					}
				}
			}
			for _, target := range account {
				check(target, 'p', "")
			}
			for _, target := range refused {
				w.refuses(target, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
				equal(t, target+": requests upstream", len(got.take()), 0)
			}
			for _, test := range slices.Concat(strange, public) {
				check(test.target, test.want[i], "")
			}
			for _, field := range []string{
				"X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-URL", "X-Forwarded-Path", "X-Forwarded-Prefix",
				"X-Auth-Request-Redirect", "X-Original-Path", "X-Envoy-Original-Path", "X-Request-Uri", "Request-Uri", "Referer", "Destination", "Content-Location",
			} {
				check("/account", 'p', field+": /public/x\r\n")
				check("/account", 'p', field+": http://localhost/public/x\r\n")
				check("/public/x", 'o', field+": /account\r\n") // what the application makes of it is its own affair
			}
			for _, field := range []string{"X-HTTP-Method-Override: OPTIONS", "X-Forwarded-Method: OPTIONS", "X-Original-Method: OPTIONS", "X-Forwarded-For: 127.0.0.1", "X-Real-Ip: 127.0.0.1", "X-Auth-Request-User: x", "Remote-User: x"} {
				check("/account", 'p', field+"\r\n")
			}
			for _, agent := range []string{
				"kube-probe/1.34", "GoogleHC/1.0", "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)", "ELB-HealthChecker/2.0",
				"Consul Health Check", "Prometheus/3.0.0", "Envoy/HC", "Amazon-Route53-Health-Check-Service", "Googlebot/2.1", "Caddy", "", "Go-http-client/1.1",
			} {
				check("/account", 'p', "User-Agent: "+agent+"\r\n")
				check("/account/healthz", 'p', "User-Agent: "+agent+"\r\n")
			}
		})
	}
}

// TestProtectedPathsAnyMethod: the method changes nothing.
func TestProtectedPathsAnyMethod(t *testing.T) {
	for _, matcher := range pathMatchers {
		w := startWithPaths(t, matcher, nil)
		got := w.app.record()
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "QUERY", "BREW", "get", "Options", "GET1"} {
			for _, version := range []string{"1.0", "1.1"} {
				want := http.StatusUnauthorized
				if method == "TRACE" || method == "CONNECT" {
					want = http.StatusMethodNotAllowed
				}
				a := w.exchange(method + " /account HTTP/" + version + "\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				equal(t, matcher+": "+method+" of HTTP/"+version, a.StatusCode, want)
				equal(t, matcher+": "+method+": requests upstream", len(got.take()), 0)
			}
		}
		for _, request := range []string{"PRI /account HTTP/2.0", "GET /account", "GET /account HTTP/3.0", "GET  /account HTTP/1.1", "GET\t/account HTTP/1.1", "GET /account  HTTP/1.1", " GET /account HTTP/1.1"} {
			w.refuses(request, request+"\r\nHost: localhost\r\n\r\n")
			equal(t, matcher+": "+request+": requests upstream", len(got.take()), 0)
		}
	}
}

// TestProtectedPathsRewritten: a rewrite before the guard makes nothing public
// that was not so as it arrived. What comes after it the guard cannot know:
// there the paths to protect are the ones that visitors use.
func TestProtectedPathsRewritten(t *testing.T) {
	const before = `
	rewrite /alias /account
	rewrite /alias/* /account/{path.1}
	rewrite /account/renamed /public/renamed
	rewrite /public/shop /account/shop
	uri /api/* strip_prefix /api
	uri /old/* replace /old/ /account/
	uri /suffix/* strip_suffix .html
	uri /regexp/* path_regexp /regexp/+(.*) /$1`
	after := func(w *world) string {
		return strings.ReplaceAll(`
	handle_path /open/* {
		reverse_proxy APP
	}
	handle /inside {
		rewrite /account
		reverse_proxy APP
	}
	handle /upstream {
		reverse_proxy APP {
			rewrite /account
		}
	}
	handle_path /public/* {
		reverse_proxy APP
	}`, "APP", w.App)
	}
	for i, matcher := range pathMatchers {
		w := startWithPaths(t, matcher, func(w *world) {
			w.Before += before
			w.After = after(w)
		})
		got := w.app.record()
		for _, test := range []struct{ target, want, path string }{
			{"/alias", "ppp", ""},
			{"/ALIAS", "ppp", ""},
			{"/%61lias", "ppp", ""},
			{"//alias", "ppp", ""},
			{"/x/../alias", "ppp", ""},
			{"/alias/x", "ppp", ""},
			{"/account/renamed", "ppp", ""},
			{"/Account//renamed", "ppp", ""},
			{"/public/shop", "ppp", ""},
			{"/api/account", "ppp", ""},
			{"/api//account", "ppp", ""},
			{"/api/api/../account", "ppp", ""},
			{"/api%2faccount", "ppp", ""},
			{"/api/public/../account", "ppp", ""},
			{"/old/x", "ppp", ""},
			{"/regexp/account", "ppp", ""},
			{"/regexp/%61ccount", "ppp", ""},
			{"/account?/public/shop", "ppp", ""},

			{"/open/x", "oop", "/x"},
			{"/open/account", "oop", "/account"},
			{"/inside", "oop", "/account"},
			{"/upstream", "oop", "/account"},
			{"/public/account", "ooo", "/account"}, // the public prefix is taken off: all of the application is public
		} {
			a := w.exchange("GET " + test.target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
			protected := test.want[i] == 'p'
			equal(t, matcher+": "+test.target, a.StatusCode, map[bool]int{true: http.StatusUnauthorized, false: http.StatusOK}[protected])
			seen := got.take()
			if protected && len(seen) > 0 || !protected && (len(seen) != 1 || seen[0].path != test.path) {
				t.Errorf("%s: %s: the application got %v", matcher, test.target, seen)
			}
		}
	}
}

// TestProtectedPathsBelow: in a handle_path the guard sees what is left of the
// path, and what lies outside of it is not its own.
func TestProtectedPathsBelow(t *testing.T) {
	below := strings.NewReplacer("{{.Site}}/truelayer", "{{.Site}}/bank/truelayer", "truelayer {{.Matcher}}", "handle_path /bank/* {\n truelayer {{.Matcher}}",
		"\t{{.After}}\n", "reverse_proxy {{.App}}\n}\n").Replace(plain)
	for i, matcher := range pathMatchers {
		w := start(t, below, func(w *world) { w.Before, w.Matcher = definePathMatchers, matcher })
		got := w.app.record()
		for target, want := range map[string]string{
			"/bank/account": "ppp", "/BANK/account": "ppp", "//bank//account": "ppp", "/bank/./account": "ppp", "/x/../bank/account": "ppp",
			"/bank/%61ccount": "ppp", "/%62ank/account": "ppp", "/bank%2faccount": "ppp", "/bank/public/../account": "ppp",
			"/bank/x": "oop", "/bank/public/x": "oop", // as it arrived it is not public
		} {
			a := w.exchange("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
			protected := want[i] == 'p'
			equal(t, matcher+": "+target, a.StatusCode, map[bool]int{true: http.StatusUnauthorized, false: http.StatusOK}[protected])
			for _, seen := range got.take() {
				if protected || isAccount(seen.path) {
					t.Errorf("%s: %s: the application got %q", matcher, target, seen.target)
				}
			}
		}
	}
}
