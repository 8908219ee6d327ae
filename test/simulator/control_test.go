package simulator

import (
	"net/http"
	"strings"
	"testing"
)

const jsonType = "application/json"

func TestSettingsOverHTTP(t *testing.T) {
	f := start(t)
	r := f.send(http.MethodPut, "/simulator/settings", jsonType, `{"token_lifetime":"90s","rotate":true,"clock_skew":"-5s"}`)
	for _, want := range []string{`"token_lifetime":"1m30s"`, `"rotate":true`, `"clock_skew":"-5s"`, `"consent_lifetime":"2160h0m0s"`, `"refresh_tokens":"auto"`} {
		if r.status != 200 || !strings.Contains(r.body, want) {
			t.Errorf("%d %s, want %s in it", r.status, r.body, want)
		}
	}
	if again := f.send(http.MethodGet, "/simulator/settings", "", ""); again.body != r.body {
		t.Errorf("GET says %s", again.body)
	}
	if got := f.tokens(exchangeForm(f.code())); got.ExpiresIn != 90 {
		t.Errorf("expires_in %d", got.ExpiresIn)
	}
}

func TestFaultsOverHTTP(t *testing.T) {
	f := start(t)
	if r := f.send(http.MethodPost, "/simulator/faults", jsonType,
		`{"endpoint":"token","times":1,"delay":"1ms","status":503,"header":{"Retry-After":["9"]},"content_type":"text/html","body":"<p>"}`); r.status != 204 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := f.postToken(nil); r.status != 503 || r.body != "<p>" || r.header.Get("Retry-After") != "9" {
		t.Errorf("%+v", r)
	}
	f.send(http.MethodPost, "/simulator/faults", jsonType, `{"endpoint":"jwks","status":500}`)
	f.send(http.MethodDelete, "/simulator/faults", "", "")
	if r := f.send(http.MethodGet, "/.well-known/openid-configuration/jwks", "", ""); r.status != 200 {
		t.Errorf("%d after the faults were dropped", r.status)
	}
}

func TestRevokeAndCallsOverHTTP(t *testing.T) {
	f := start(t)
	got := f.tokens(exchangeForm(f.code()))
	if r := f.send(http.MethodPost, "/simulator/revoke", "", ""); r.status != 204 {
		t.Errorf("%d", r.status)
	}
	if r := f.postToken(refreshForm(got.RefreshToken)); r.errorCode(t) != "invalid_grant" {
		t.Errorf("%s", r.body)
	}
	var calls struct {
		Token  int            `json:"token"`
		Data   int            `json:"data"`
		Grants map[string]int `json:"grants"`
	}
	f.send(http.MethodGet, "/simulator/calls", "", "").decode(t, &calls)
	if calls.Token != 2 || calls.Data != 0 || calls.Grants[grantCode] != 1 || calls.Grants[grantRefresh] != 1 {
		t.Errorf("%+v", calls)
	}
}

func TestKnobsRefuse(t *testing.T) {
	f := start(t)
	tests := []struct{ method, path, contentType, body string }{
		{http.MethodPut, "/simulator/settings", jsonType, `{"token_lifetime":"soon"}`},
		{http.MethodPut, "/simulator/settings", jsonType, `{"token_lifetime":90}`},
		{http.MethodPut, "/simulator/settings", jsonType, `{"token_lifetime":"0s"}`},
		{http.MethodPut, "/simulator/settings", jsonType, `{"refresh_tokens":"sometimes"}`},
		{http.MethodPut, "/simulator/settings", jsonType, `{"cancelled":"never"}`},
		{http.MethodPut, "/simulator/settings", jsonType, `{"unknown":1}`},
		{http.MethodPut, "/simulator/settings", jsonType, `{} {}`},
		{http.MethodPost, "/simulator/faults", jsonType, `{"endpoint":"tokens"}`},
		{http.MethodPost, "/simulator/faults", jsonType, `{"endpoint":"token","status":7}`},
		{http.MethodPost, "/simulator/faults", jsonType, `{"endpoint":"token","rate":2}`},
		{http.MethodPost, "/simulator/faults", "text/plain", `{"endpoint":"token","status":500}`},
	}
	for _, tt := range tests {
		if r := f.send(tt.method, tt.path, tt.contentType, tt.body); r.status != 400 {
			t.Errorf("%s %s: %d", tt.path, tt.body, r.status)
		}
	}
}
