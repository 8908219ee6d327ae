package truelayer

import (
	"net/http"
	"slices"
	"testing"
)

// FuzzOtherCookies: of the application's cookies none is lost, changed or moved
// when ours are taken off.
func FuzzOtherCookies(f *testing.F) {
	f.Add("a=1; s=2; b=3", "c=4")
	f.Add("s=1", "s-login-x=2;d=\"x y\"")
	f.Add(";;=;s", " s = 1 ;a=1")
	f.Add("a=s; =; ;x", "")
	names := newCookieNames("s", label{}, false)
	others := func(lines []string) (pairs [][2]string) {
		for name, value := range cookiePairs(lines) {
			if !names.own(name) && (name != "" || value != "") {
				pairs = append(pairs, [2]string{name, value})
			}
		}
		return pairs
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		header := http.Header{"Cookie": slices.Clone(lines), "X-Other": {first}}
		found := names.stripCookies(header)
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
