package truelayer

import (
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
		"":                                 "",
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
