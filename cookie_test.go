package truelayer

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// strip does to a header what a block does.
func strip(names *cookieNames, header http.Header) (found bool) {
	if found = names.find(header["Cookie"]).any; found {
		names.strip(header)
	}
	return found
}

func TestStripCookies(t *testing.T) {
	names := newCookieNames("s", session.Label{}, false)
	for _, test := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{"s=1"}, nil},
		{[]string{"a=1"}, []string{"a=1"}},
		{[]string{"a=1; s=2; b=3"}, []string{"a=1; b=3"}},
		{[]string{"s=2; a=1"}, []string{"a=1"}},
		{[]string{"a=1; s=2"}, []string{"a=1"}},
		{[]string{"a=1;s=2;b=3"}, []string{"a=1;b=3"}},
		{[]string{"s-login-abc=2; s-other=3; S=4"}, []string{"s-other=3; S=4"}},
		{[]string{"s=1", "a=1", "s=2; b=2"}, []string{"a=1", "b=2"}},
		{[]string{`a="q; s=2`}, []string{`a="q`}},
		{[]string{"a=s; =; ;x"}, []string{"a=s; =; ;x"}},
		{[]string{" s = 1 ;a=1"}, []string{" s = 1 ;a=1"}},
	} {
		header := http.Header{"Cookie": slices.Clone(test.lines)}
		if test.lines == nil {
			header = http.Header{}
		}
		before := header["Cookie"]
		strip(&names, header)
		if got := header["Cookie"]; !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.lines, got, test.want)
		}
		if !slices.Equal(before, test.lines) {
			t.Errorf("%q: the lines themselves were changed", test.lines)
		}
	}
}

func FuzzCookies(f *testing.F) {
	for _, seed := range []string{"", "s=1", "a=1; s=2;s-login-x=3", ";;=;s", "s=" + strings.Repeat("A", 43)} {
		f.Add(seed)
	}
	names := newCookieNames("s", session.Label{}, false)
	f.Fuzz(func(t *testing.T, line string) {
		for name, value := range cookiePairs([]string{line}) {
			if secret, ok := decodeSecret(value); ok && cookieEncoding.EncodeToString(secret[:]) != value {
				t.Errorf("%q has two spellings", value)
			}
			_ = name
		}
		header := http.Header{"Cookie": {line}}
		strip(&names, header)
		for name := range cookiePairs(header["Cookie"]) {
			if names.isModuleCookie(name) {
				t.Errorf("%q: %q is left of %q", line, name, header["Cookie"])
			}
		}
	})
}

// TestCookiesOfOtherBlocks: an application gets the cookies of no block, not of one
// that another part of the host has, and not of the configuration before this one.
func TestCookiesOfOtherBlocks(t *testing.T) {
	names := newCookieNames("", session.Label{1, 2, 3, 4}, true)
	for name, kept := range map[string]bool{
		"__Host-truelayer-01020304": false, "__Host-truelayer-01020304-login-0": false,
		"__Host-truelayer-deadbeef": false, "__Host-truelayer-deadbeef-login-7": false,
		"truelayer-00ff00ff": false, "truelayer-00ff00ff-login-1": false,
		"truelayer": true, "truelayer-": true, "truelayer-deadbee": true, "truelayer-DEADBEEF": true, "truelayer-settings": true,
		"truelayer-deadbeef0": true, "truelayer-deadbeef-theme": true, "__Secure-truelayer-deadbeef": true, "x-truelayer-deadbeef": true,
	} {
		header := http.Header{"Cookie": {"a=1; " + name + "=x; b=2"}}
		strip(&names, header)
		want := "a=1; b=2"
		if kept {
			want = "a=1; " + name + "=x; b=2"
		}
		if got := header.Get("Cookie"); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// FuzzOtherCookies: of the application's cookies none is lost, changed or moved
// when ours are taken off.
func FuzzOtherCookies(f *testing.F) {
	f.Add("a=1; s=2; b=3", "c=4")
	f.Add("s=1", "s-login-x=2;d=\"x y\"")
	f.Add(";;=;s", " s = 1 ;a=1")
	f.Add("a=s; =; ;x", "")
	names := newCookieNames("s", session.Label{}, false)
	others := func(lines []string) (pairs [][2]string) {
		for name, value := range cookiePairs(lines) {
			if !names.isModuleCookie(name) && (name != "" || value != "") {
				pairs = append(pairs, [2]string{name, value})
			}
		}
		return pairs
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		header := http.Header{"Cookie": slices.Clone(lines), "X-Other": {first}}
		found := strip(&names, header)
		if got, want := others(header["Cookie"]), others(lines); !slices.Equal(got, want) {
			t.Errorf("%q became %q", lines, header["Cookie"])
		}
		if !found && !slices.Equal(header["Cookie"], lines) {
			t.Errorf("%q has none of ours and became %q", lines, header["Cookie"])
		}
		if !slices.Equal(header["X-Other"], []string{first}) {
			t.Error("another field was changed")
		}
	})
}
