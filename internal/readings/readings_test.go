package readings

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for target, want := range map[string][]string{
		"/": {}, "/a/b.c": {}, "/a%20b": {}, "/caf%C3%A9": {},
		"/a;b":           {"/a"},
		"/a%2Fb":         {"/a%2Fb"},
		"/%C0%BAx":       {"/:x"},
		"/%E0%81%A1":     {"/a"},
		"/a%C3%80%AFb":   {}, // a letter, and a byte that stands alone
		"/?/a/b":         {"/a/b"},
		"/x?y=/a":        {},
		"/a%253Fb":       {"/a?b", "/a"},
		"/a/%EF%BC%8Eb/": {"/a/.b/"},
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		others, clear := Of(u)
		got := []string{}
		for _, other := range others {
			got = append(got, other.Path)
		}
		if !clear || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", target, got, clear, want)
		}
	}
}

// TestUnclear: of these nobody can tell what an application makes of them.
func TestUnclear(t *testing.T) {
	for _, target := range []string{
		"//a", "/a/../b", "/a/%2e%2e/b", "/%zz", "/a%2525252Fb", "/%C0%AE%C0%AE/a", "/%5ca", "/a/..;/b",
		"/" + strings.Repeat("a;", maxBytes/2), "/" + strings.Repeat("%3Fa;/", 4000),
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			u = &url.URL{Path: target}
		}
		if others, clear := Of(u); clear {
			t.Errorf("%.40s is clear, as %d others", target, len(others))
		}
	}
}

func BenchmarkOf(b *testing.B) {
	for name, target := range map[string]string{
		"ordinary": "/account/settings.html", "odd": "/assets/caf%C3%A9;v=1.js", "long": "/" + strings.Repeat("%3Fa;/", 200), "letters": "/" + strings.Repeat("%E5%AD%97", 700),
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Of(u)
			}
		})
	}
}
