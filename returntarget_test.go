package truelayer

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
)

func testAddresses() *addresses {
	a := newAddresses(&url.URL{Scheme: "https", Host: "app.example.com", Path: "/truelayer"})
	return &a
}

func TestReturnTarget(t *testing.T) {
	a := testAddresses()
	for target, want := range map[string]string{
		"/": "/", "/a": "/a", "/a?b=c&d": "/a?b=c&d", "/a%20b": "/a%20b", "/a//b": "/a//b", "/?next=https://x.example/": "/?next=https://x.example/",
		"": "/", "a": "/", "//x.example": "/", "///x.example": "/", `/\x.example`: "/", `\\x.example`: "/", `/a\b`: "/",
		"https://x.example/": "/", "javascript:alert(1)": "/", "/a\r\nSet-Cookie: x": "/", "/a\tb": "/", " /a": "/", "/a b": "/", "/é": "/",
		"/a#fragment": "/", "/%zz": "/", "/truelayer": "/", "/truelayer?code=a": "/", "/truelayer/login?return=/": "/", "/truelayer/logout": "/",
		"/truelayers": "/truelayers", "/truelayer/connection": "/truelayer/connection", "/truelayer/connection/": "/", "/truelayer/renew": "/", "/truelayer/disconnect?ended": "/", "/%74ruelayer": "/",
	} {
		if got := a.returnTarget(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
}

// FuzzReturnTarget: whatever is asked for, the browser stays on this origin,
// and what is accepted once is accepted again.
func FuzzReturnTarget(f *testing.F) {
	a := testAddresses()
	for _, line := range returnTargets(f) {
		target, err := strconv.Unquote(`"` + line[min(2, len(line)):] + `"`)
		if err != nil {
			f.Fatalf("%q: %v", line, err)
		}
		staysHere(f, a, target)
		switch got := a.returnTarget(target); {
		case line[0] == '=' && got != target:
			f.Errorf("%q is harmless and came out as %q", target, got)
		case line[0] == '*':
			// all of them would keep the fuzzer busy for half a minute before it
			// tries anything of its own
			f.Add(target)
		}
	}
	f.Fuzz(func(t *testing.T, target string) { staysHere(t, a, target) })
}

// returnTargets are the lines of the integration tests' return-targets.txt,
// which says what they mean.
func returnTargets(f *testing.F) (lines []string) {
	f.Helper()
	text, err := os.ReadFile("test/integration/testdata/return-targets.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// staysHere checks where a browser goes if target is asked for.
func staysHere(t testing.TB, a *addresses, target string) {
	t.Helper()
	got := a.returnTarget(target)
	if again := a.returnTarget(got); again != got {
		t.Errorf("%q: %q is not accepted again, but comes out as %q", target, got, again)
	}
	base, err := url.Parse(testOrigin + a.login)
	if err != nil {
		t.Fatal(err)
	}
	u, err := base.Parse(cleaned(got))
	if err != nil {
		t.Errorf("%q: %q: %v", target, got, err)
		return
	}
	if u.Scheme != base.Scheme || u.Host != base.Host || u.User != nil {
		t.Errorf("%q: %q leaves for %q", target, got, u)
	}
	asked := withoutDots(cleaned(got))
	if !strings.HasPrefix(asked, "/") || strings.HasPrefix(asked, "//") {
		t.Errorf("%q: %q is %q for browsers, which does not begin with exactly one slash", target, got, asked)
	}
	path, err := url.PathUnescape(asked) // as it arrives here
	if err != nil || path == a.callback || strings.HasPrefix(path, a.callback+"/") {
		t.Errorf("%q: %q is one of our own endpoints", target, got)
	}
}

// cleaned is a URL after the first steps of the WHATWG's parser, which net/url
// does not take: white space around it and tabs and line breaks in it are not
// there, and a backslash is a slash.
func cleaned(location string) string {
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(location)
	return strings.TrimFunc(location, func(r rune) bool { return r <= ' ' })
}

// withoutDots is the path of a URL without scheme and host, after the parser's
// last step: dot segments are out, escaped ones too. net/url leaves those, and
// takes one slash too many out of "/..//a".
func withoutDots(location string) string {
	path, _, _ := strings.Cut(location, "?")
	segments := strings.Split(path, "/")
	kept := segments[:1:1] // what stands before the first slash: nothing, or it is no path
	for i, segment := range segments[1:] {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case "..":
			kept = kept[:max(1, len(kept)-1)]
		case ".":
		default:
			kept = append(kept, segment)
			continue
		}
		if i == len(segments)-2 {
			kept = append(kept, "") // "/a/." is "/a/"
		}
	}
	return strings.Join(kept, "/")
}
