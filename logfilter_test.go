package truelayer

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestLogFilter(t *testing.T) {
	f := new(LogFilter)
	for in, want := range map[string]string{
		"/page":                            "/page",
		"/page?a=1&b":                      "/page?a=1&b",
		"/truelayer?code=x&state=y":        "/truelayer?code=REDACTED&state=REDACTED",
		"/truelayer?state=y&a=1&code=x":    "/truelayer?state=REDACTED&a=1&code=REDACTED",
		"/truelayer?code=x&code=y":         "/truelayer?code=REDACTED&code=REDACTED",
		"/truelayer?%63ode=x&st%61te=y":    "/truelayer?%63ode=REDACTED&st%61te=REDACTED",
		"/truelayer?CODE=x&+state+=y":      "/truelayer?CODE=REDACTED&+state+=REDACTED",
		"/truelayer?code":                  "/truelayer?code=REDACTED",
		"/truelayer?%zz=x":                 "/truelayer?%zz=REDACTED",
		"/truelayer?a=?code=x":             "/truelayer?a=?code=x",
		"https://auth/?state=y#x":          "https://auth/?state=REDACTED#x",
		"https://auth/?code_challenge=y&z": "https://auth/?code_challenge=REDACTED&z",
		"/?barcode=1&state_of_mind=2":      "/?barcode=1&state_of_mind=2",

		"/truelayer/login?return=%2Fa%3Fb%3Dc":                        "/truelayer/login?return=%2Fa%3Fb%3Dc",
		"/truelayer/login?return=%2Fsecond%3Fcode%3Dx%26state%3Dy&a":  "/truelayer/login?return=%2Fsecond%3Fcode%3DREDACTED%26state%3DREDACTED&a",
		"/truelayer/login?Return=/second?code=x":                      "/truelayer/login?Return=%2Fsecond%3Fcode%3DREDACTED",
		"/truelayer/login?return=%zz":                                 "/truelayer/login?return=REDACTED",
		"/l?return=/l?return=%2Fl%3Freturn%3D%2Fl%253Fcode%253Dx":     "/l?return=%2Fl%3Freturn%3D%252Fl%253Freturn%253D%25252Fl%25253Fcode%25253DREDACTED",
		"/l?return=/l?return=/l?return=/l?return=/l?return=/l?code=x": "/l?return=%2Fl%3Freturn%3D%252Fl%253Freturn%253D%25252Fl%25253Freturn%25253DREDACTED",
		"": "",
	} {
		if got := f.Filter(zap.String("uri", in)).String; got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
		array := caddyhttp.LoggableStringArray{in, "other"}
		got, ok := f.Filter(zap.Array("Location", array)).Interface.(caddyhttp.LoggableStringArray)
		if !ok || got[0] != want || got[1] != "other" || array[0] != in {
			t.Errorf("%s in a list became %v, and the list %v", in, got, array)
		}
	}
	if err := f.UnmarshalCaddyfile(caddyfile.NewTestDispenser("truelayer")); err != nil {
		t.Error(err)
	}
	if err := f.UnmarshalCaddyfile(caddyfile.NewTestDispenser("truelayer code")); err == nil {
		t.Error("an argument was accepted")
	}
}

// FuzzRedactURL: of what is secret nothing is left, however it is spelled;
// everything else stays. net/url is the other reader of the address.
func FuzzRedactURL(f *testing.F) {
	for _, seed := range []string{
		"", "/", "/page?a=1&b", "/truelayer?code=x&state=y", "/truelayer?%63ode=x&st%61te=y&+code=z", "/t?CODE=a&code", "/t?code=a&code=b;c",
		"/t?%zz=x&code=%zz", "https://auth.example/?code_challenge=y#z", "/?a=?code=x", "/#?code=x", "/??code=x", "/l?return=/a?code=x&return=%2Fa%3Fcode%3Dx", "/l?return=/l?return=/l?return=/l?return=/l?code=x", "/t?code=%26state%3d1", "/t?a=%0a&=&&",
	} {
		f.Add(seed)
	}
	secret := func(name string) bool {
		return slices.ContainsFunc(secretParams, func(s string) bool { return strings.EqualFold(strings.TrimSpace(name), s) })
	}
	f.Fuzz(func(t *testing.T, address string) {
		got := redactURL(address)
		if again := redactURL(got); again != got {
			t.Errorf("%q became %q, and then %q", address, got, again)
		}
		filter := new(LogFilter)
		if field := filter.Filter(zap.String("uri", address)); field.String != got {
			t.Errorf("%q became %q in a field", address, field.String)
		}
		lines, ok := filter.Filter(zap.Array("Location", caddyhttp.LoggableStringArray{address})).Interface.(caddyhttp.LoggableStringArray)
		if !ok || len(lines) != 1 || lines[0] != got {
			t.Errorf("%q became %q in a list", address, lines)
		}
		before, err := url.Parse(address)
		if err != nil || strings.Contains(before.Fragment, "?") { // which may be redacted too
			return
		}
		after, err := url.Parse(got)
		if err != nil {
			t.Fatalf("%q became %q: %v", address, got, err)
		}
		was, is := before.Query(), after.Query()
		for name, values := range was {
			if strings.EqualFold(strings.TrimSpace(name), "return") {
				for _, value := range is[name] {
					if clean := redactURL(value); clean != value {
						t.Errorf("%q became %q: %s has %q", address, got, name, value)
					}
				}
				continue
			}
			if !secret(name) {
				if !slices.Equal(is[name], values) {
					t.Errorf("%q became %q: %s changed", address, got, name)
				}
				continue
			}
			for _, value := range is[name] {
				if value != redacted {
					t.Errorf("%q became %q: %s has %q", address, got, name, value)
				}
			}
			if len(is[name]) < len(values) {
				t.Errorf("%q became %q: %s is missing", address, got, name)
			}
		}
		before.RawQuery, after.RawQuery = "", ""
		if before.String() != after.String() {
			t.Errorf("%q became %q", address, got)
		}
	})
}
