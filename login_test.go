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
	for _, seed := range []string{"/", "/a?b", "//x.example", `/\x.example`, "/%2f/x", "/..//x.example", "/.//x.example", "http:x", "/\x00", "/a/..//\\x"} {
		f.Add(seed)
	}
	h := returnHandler()
	base, err := url.Parse(testOrigin + "/truelayer")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got := h.returnTarget(target)
		if h.returnTarget(got) != got {
			t.Errorf("%q: %q is not accepted again", target, got)
		}
		u, err := base.Parse(got)
		if err != nil {
			t.Fatalf("%q: %q: %v", target, got, err)
		}
		if u.Scheme != base.Scheme || u.Host != base.Host || u.User != nil || strings.ContainsAny(got, "\\\r\n\t") || strings.HasPrefix(got, "//") {
			t.Errorf("%q: leaves for %q", target, u)
		}
	})
}
