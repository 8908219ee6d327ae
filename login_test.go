package truelayer

import (
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

func testLogin() *login {
	return &login{
		started: time.Unix(1_800_000_000, 0), sessionExpected: time.Unix(0, 0), state: randomText(), verifier: authserver.NewSecret(randomText()),
		redirectURI: testOrigin + "/truelayer", returnTo: "/page?a=b",
	}
}

func TestLoginCookie(t *testing.T) {
	keys := newLoginSealer(authserver.NewSecret("secret"), newLabel("a"))
	want := testLogin()
	value := keys.seal("name", want)
	got, err := keys.open("name", value)
	if err != nil {
		t.Fatal(err)
	}
	want.cookie = "name"
	if !reflect.DeepEqual(got, want) {
		t.Error("another login came back")
	}
	if keys.seal("name", want) == value {
		t.Error("two seals are the same")
	}
	for i := range value {
		for _, c := range []byte("A_") {
			if forged := value[:i] + string(c) + value[i+1:]; forged != value {
				if _, err := keys.open("name", forged); err == nil {
					t.Fatalf("opened with character %d changed", i)
				}
			}
		}
		if _, err := keys.open("name", value[:i]); err == nil {
			t.Fatalf("opened when cut to %d characters", i)
		}
	}
	if _, err := keys.open("another", value); err == nil {
		t.Error("opened under another name")
	}
	for _, other := range []loginSealer{
		newLoginSealer(authserver.NewSecret("older secret"), newLabel("a")),
		newLoginSealer(authserver.NewSecret("secret"), newLabel("b")),
	} {
		if _, err := other.open("name", value); err == nil {
			t.Error("opened with another secret or label")
		}
	}
}

func FuzzLoginCookie(f *testing.F) {
	keys := newLoginSealer(authserver.NewSecret("secret"), newLabel("a"))
	want := testLogin()
	want.state, want.verifier, want.cookie = "state", authserver.NewSecret("verifier"), "name"
	f.Add(keys.seal("name", want))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, forged string) {
		// the seeds are sealed anew in each fuzzing process, so contents are compared
		if l, err := keys.open("name", forged); err == nil && !reflect.DeepEqual(l, want) {
			t.Error("a forged login cookie was opened")
		}
	})
}

func returnHandler() *Handler {
	return &Handler{paths: endpointPaths{callback: "/truelayer", login: "/truelayer/login"}}
}

func TestReturnTarget(t *testing.T) {
	h := returnHandler()
	for target, want := range map[string]string{
		"/": "/", "/a": "/a", "/a?b=c&d": "/a?b=c&d", "/a%20b": "/a%20b", "/a//b": "/a//b", "/?next=https://x.example/": "/?next=https://x.example/",
		"": "/", "a": "/", "//x.example": "/", "///x.example": "/", `/\x.example`: "/", `\\x.example`: "/", `/a\b`: "/",
		"https://x.example/": "/", "javascript:alert(1)": "/", "/a\r\nSet-Cookie: x": "/", "/a\tb": "/", " /a": "/", "/a b": "/", "/é": "/",
		"/a#fragment": "/", "/%zz": "/", "/truelayer": "/", "/truelayer?code=a": "/", "/truelayer/login?return=/": "/", "/truelayer/logout": "/",
		"/truelayers": "/truelayers", "/%74ruelayer": "/",
	} {
		if got := h.returnTarget(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
}

// FuzzReturnTarget: whatever is asked for, the browser stays on this origin,
// and what is accepted once is accepted again.
func FuzzReturnTarget(f *testing.F) {
	h := returnHandler()
	for _, line := range returnTargets(f) {
		target, err := strconv.Unquote(`"` + line[min(2, len(line)):] + `"`)
		if err != nil {
			f.Fatalf("%q: %v", line, err)
		}
		staysHere(f, h, target)
		switch got := h.returnTarget(target); {
		case line[0] == '=' && got != target:
			f.Errorf("%q is harmless and came out as %q", target, got)
		case line[0] == '*':
			// all of them would keep the fuzzer busy for half a minute before it
			// tries anything of its own
			f.Add(target)
		}
	}
	f.Fuzz(func(t *testing.T, target string) { staysHere(t, h, target) })
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
func staysHere(t testing.TB, h *Handler, target string) {
	t.Helper()
	got := h.returnTarget(target)
	if again := h.returnTarget(got); again != got {
		t.Errorf("%q: %q is not accepted again, but comes out as %q", target, got, again)
	}
	base, err := url.Parse(testOrigin + h.paths.login)
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
	if err != nil || path == h.paths.callback || strings.HasPrefix(path, h.paths.callback+"/") {
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
