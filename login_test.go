package truelayer

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

func testLogin() *login {
	return &login{
		started: time.Unix(1_800_000_000, 0), fresh: time.Unix(0, 0), state: randomText(), verifier: authserver.NewSecret(randomText()),
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
	want.state, want.verifier = "state", authserver.NewSecret("verifier")
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
	for line := range strings.Lines(read(f, "test/integration/testdata/return-targets.txt")) {
		if strings.HasPrefix(line, "#") || line == "\n" {
			continue
		}
		mark, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		target, err := strconv.Unquote(`"` + quoted + `"`)
		if err != nil {
			f.Fatalf("%q: %v", line, err)
		}
		if got := h.returnTarget(target); mark == "=" && got != target {
			f.Errorf("%q is harmless and came out as %q", target, got)
		}
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got := h.returnTarget(target)
		if again := h.returnTarget(got); again != got {
			t.Errorf("%q: %q is not accepted again, but comes out as %q", target, got, again)
		}
		u, err := asBrowsersDo(testOrigin+h.paths.login, got)
		if err != nil {
			t.Fatalf("%q: %q: %v", target, got, err)
		}
		if u.Scheme+"://"+u.Host != testOrigin || u.User != nil || strings.HasPrefix(u.EscapedPath(), "//") {
			t.Errorf("%q: %q leaves for %q", target, got, u)
		}
		if u.Path == h.paths.callback || strings.HasPrefix(u.Path, h.paths.callback+"/") {
			t.Errorf("%q: %q is one of our own endpoints", target, got)
		}
	})
}

// asBrowsersDo resolves a Location more as the WHATWG's URL parser does than
// net/url: white space around it and tabs and line breaks within are not there,
// a backslash is a slash, after a scheme or two slashes a host begins however
// many slashes follow, and an escaped dot is a dot. It takes more for a host
// than browsers do, never less.
func asBrowsersDo(base, location string) (*url.URL, error) {
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(location)
	location = strings.TrimFunc(location, func(r rune) bool { return r <= ' ' })
	location, _, _ = strings.Cut(location, "#")
	path, query, _ := strings.Cut(location, "?")
	path = strings.ReplaceAll(path, `\`, "/")
	path = regexp.MustCompile(`(?i)%2e`).ReplaceAllString(path, ".")
	path = regexp.MustCompile(`^((?:[A-Za-z][A-Za-z0-9+.-]*:)?)//+|^([A-Za-z][A-Za-z0-9+.-]*:)/?`).ReplaceAllString(path, "$1$2//")
	// net/url would take one slash too many out of "/..//host"
	for next := path; ; path = next {
		next = regexp.MustCompile(`^/\.\.?(/|$)`).ReplaceAllString(path, "/")
		if next == path {
			break
		}
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return u.Parse(path + "?" + query)
}
