package truelayer

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/readings"
)

// publicPatterns are what a site's matcher leaves open: exact paths, a prefix,
// a suffix.
var publicPatterns = []string{"/", "/about", "/assets/*", "*.css"}

// parsers are ways in which applications find the path in a request's target.
// Each is given the path as it stands in the request line.
var parsers = map[string]func(target string) string{
	"as it stands": func(target string) string { return before(target, "?") },
	"once":         func(target string) string { return unescaped(before(target, "?")) },
	"twice":        func(target string) string { return unescaped(unescaped(before(target, "?"))) },
	"three times":  func(target string) string { return unescaped(unescaped(unescaped(before(target, "?")))) },
	// new URL(req.url, base).pathname, and what the application makes of it
	"a URL":                   func(target string) string { return unescaped(ofURL(target)) },
	"a URL, of what was sent": func(target string) string { return ofURL(unescaped(target)) },
	"decoded, cut at ?":       func(target string) string { return before(unescaped(target), "?") },
	"decoded, cut at #":       func(target string) string { return before(unescaped(before(target, "?")), "#") },
	"decoded, cut at ;":       func(target string) string { return before(unescaped(before(target, "?")), ";") },
	"decoded, cut at NUL":     func(target string) string { return before(unescaped(before(target, "?")), "\x00") },
	"a servlet container's": func(target string) string {
		return eachSegment(unescaped(eachSegment(before(target, "?"), func(s string) string { return before(s, ";") })), func(s string) string { return before(s, ";") })
	},
	"with backslashes": func(target string) string { return strings.ReplaceAll(unescaped(before(target, "?")), `\`, "/") },
	"Windows": func(target string) string {
		return eachSegment(strings.ReplaceAll(unescaped(before(target, "?")), `\`, "/"), func(s string) string {
			if s == "." || s == ".." {
				return s
			}
			return strings.TrimRight(s, ". ")
		})
	},
}

func before(s, end string) string {
	s, _, _ = strings.Cut(s, end)
	return s
}

func eachSegment(path string, change func(string) string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = change(segment)
	}
	return strings.Join(segments, "/")
}

// unescaped decodes what can be decoded, as lenient parsers do.
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i] == '%' {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ofURL is the path that the WHATWG's parser finds, with an http base.
func ofURL(target string) string {
	target = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(target)
	target = before(before(strings.Trim(target, " "), "#"), "?")
	target = strings.ReplaceAll(target, `\`, "/")
	if rest, found := strings.CutPrefix(target, "//"); found {
		_, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		return "/" + rest
	}
	return target
}

// FuzzReadings: whatever parser an application has, no address that leads it to
// what is protected is public.
func FuzzReadings(f *testing.F) {
	var private protection
	public := caddyhttp.MatchNot{MatcherSets: []caddyhttp.MatcherSet{{caddyhttp.MatchPath(publicPatterns)}}}
	private.match = caddyhttp.MatcherSets{{public}}
	for _, target := range []string{
		"/account", "//assets/account", "///assets/account", "/%2fassets/account", `/\assets/account`, "/%5cassets/account", "/%5c%5cassets/account",
		"/%09/assets/account", "/;x/assets/account", "/%00/assets/account", "//user:password@assets/account", "/%252fassets/account",
		"/assets/%25zz/%252e%252e/%252e%252e/account", "/assets/%zz", "/assets/%252e%252e/account", "/assets/..;/account", "/assets/..%00/account",
		"/assets%2f..%2faccount", "/assets/%ef%bc%8e%ef%bc%8e/account", "/assets/%c0%ae%c0%ae/account", "/assets/.%09./account",
		"/account;.css", "/account;/x.css", "/account%3b.css", "/account%3f.css", "/account%23.css", "/account%00.css", "/account%253f.css", "/account%20/.css",
		"/account./x.css/..", "/account?x.css", "/account%5c.css", "/account/;.css", "/about/../account", "/about%23/../account", "/assets/x.css",
		"/assets/app;v=1.js", "/assets/C%23.pdf", "/assets/%5Bid%5D.js", "/assets/caf%C3%A9.png", "/account%0a.css", "/account%2f.css",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return // net/http refuses it, or it has no path
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.URL, r.RequestURI = u, target
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
		protected, err := private.covers(arrived(r))
		if err != nil {
			t.Fatal(err)
		}
		if *r.URL != *u || r.RequestURI != target {
			t.Fatalf("%q became %q", target, r.URL)
		}
		for name, parse := range parsers {
			p := path.Clean(strings.ToLower(parse(target)))
			if !protected && (p == "/account" || strings.HasPrefix(p, "/account/") && !strings.HasSuffix(p, ".css")) {
				t.Errorf("%q is public, and %q for an application that reads it %s", target, p, name)
			}
		}
	})
}

// TestPublicAddresses: what pages really use stays public.
func TestPublicAddresses(t *testing.T) {
	for _, target := range []string{
		"/", "/about", "/assets/app.js", "/assets/.well-known/x", "/assets/a..b.js", "/assets/app;v=1.js", "/assets/C%23.pdf", "/assets/%5Bid%5D.js",
		"/assets/caf%C3%A9.png", "/assets/caf%c3%a9.png", "/assets/caf%e9.png", "/assets/a%20b.png", "/assets/a%2Fb.png", "/assets/a+b.png", "/assets/a@2x.png", "/assets//x.png",
		"/assets/a%3Fb.png", "/theme/x.css", "/?page=/account", "/?v=%2", "/?/about", "/assets/100%ef%bc%85.png", "/assets/%c0%ba%b0%a1.hwp", "/assets/%c1%a1.zip", "/assets/%25252f", "/assets/x?../account",
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		others, clear := readings.Of(u)
		if !clear {
			t.Errorf("%q is not public", target)
		}
		for _, other := range others {
			r := caddyhttp.PrepareRequest(&http.Request{URL: &other, Header: http.Header{}}, caddy.NewReplacer(), nil, nil)
			if !caddyhttp.MatchPath(publicPatterns).Match(r) {
				t.Errorf("%q is not public, because it may be %q", target, other.Path)
			}
		}
	}
}

// TestOddReaders: parsers that are rarer than those of FuzzReadings lead these to
// what is protected.
func TestOddReaders(t *testing.T) {
	var private protection
	public := caddyhttp.MatchNot{MatcherSets: []caddyhttp.MatcherSet{{caddyhttp.MatchPath{"/", "/assets/*", "/account/help/*"}}}}
	private.match = caddyhttp.MatcherSets{{public}}
	for name, targets := range map[string][]string{
		"compatibility forms": {
			"/assets/%ef%b8%b0/account", "/assets/%ef%bc%852e%ef%bc%852e/account", "/assets/%ef%b9%aa2e%ef%b9%aa2e/account",
			"/account%e2%81%87/x", "/account%cd%be",
		},
		"overlong forms":      {"/assets/%f8%80%80%80%ae%f8%80%80%80%ae/account", "/assets/%fc%80%80%80%80%ae%fc%80%80%80%80%ae/account", "/%c1%a1ccount", "/assets/%c0%ae%c0%ae%c0%afaccount", "/account/help%c0%afx/%f0%82%80%ae./y", "/assets/%f0%8f%bc%8e%ef%bc%8e/account"},
		"escaped many times":  {"/assets/%2525252e%2525252e/account", "/assets/%252525252e%252525252e/account"},
		"characters dropped":  {"/account/help/..%20", "/account/help/..%01", "/account/help/..%1f", "/assets/..%20/account", "/assets/.%01./account", "/assets/.%7f./account", "/assets/.%c2%ad./account", "/assets/.%ff./account"},
		"routes in the query": {"/?/account", "/?%2faccount", "/?%2Faccount&x=1", "/assets/index.php?/account", "/?/assets/../account", "/?//assets/account", "/?/assets/%2e%2e/account", "/?/account?x"},
	} {
		for _, target := range targets {
			u, err := url.ParseRequestURI(target)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.URL, r.RequestURI = u, target
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
			if protected, err := private.covers(arrived(r)); err != nil || !protected {
				t.Errorf("%s: %q is public (%v)", name, target, err)
			}
		}
	}
}
