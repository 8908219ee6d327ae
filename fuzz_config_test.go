package truelayer

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// FuzzConfig: whatever stands in the JSON configuration, setting it up ends
// with an error or with a handler that is safe to run, and prints no secret.
func FuzzConfig(f *testing.F) {
	const credentials = `"client_id":"client","client_secret":"secret","redirect_uri":"https://app.example.com/truelayer"` //nolint:gosec // made up
	for _, more := range []string{
		``, `,"environment":"sandbox"`, `,"auth_server":"http://localhost:1/a","issuer":"https://i.example"`,
		`,"scopes":["info","offline_access"],"providers":["uk-ob-all"],"provider_id":"ob-monzo","auth_param":{"a":"b"}`,
		`,"token_header":{"field":"X-Token"},"cookie_name":"bank","allow_origins":["https://www.example.com"]`,
		`,"token_header":{},"scopes":[""],"auth_param":{"state":"x"}`, `,"token_header":null,"store":null,"match":null`,
		`,"idle_timeout":"1h","max_lifetime":7200000000000,"refresh_before":"-1s","refresh_timeout":"1ns"`,
		`,"consent":{"controller":"C","purpose":"P","terms_url":"https://a.example/","user":{"name":"{http.auth.user.id}"}},"bank_picker":{}`, `,"consent":{}`,
		`,"consent":{"controller":"\u202e","purpose":"{env.X}","terms_url":"http://a.example","user":{"name":"Ada"}}`,
		`,"store":{"type":"memory","max_sessions":2}`, `,"store":{"type":"storage","cache_ttl":"0","storage":{"module":"file_system"}}`,
		`,"store":{"type":"clay"}`, `,"store":[]`, `,"match":[{"path":["/a*"]},{"not":[{"method":["GET"]}]}]`, `,"match":[{"path":7}]`,
		`,"verify_access_token":"https://auth.example/jwks","logout_redirect":"//x","disable_pkce":true,"disable":["session"],"disconnect_on":["logout"]`,
	} {
		f.Add([]byte(`{` + credentials + more + `}`))
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"client_id":"client","client_secret":"secret","redirect_uri":"http://app.example.com/truelayer"}`))
	f.Add([]byte(`{` + credentials + `,"auth_server":"http://auth.example"}`))
	f.Add([]byte(`{` + credentials + `,"token_header":{"field":"Cookie"}}`))
	f.Add([]byte(`{"client_secret":"{env.NOT_SET}","client_id":"{","redirect_uri":"http://localhost/t"}`))
	// with a configuration around it, which modules may ask, and that logs nothing
	around, err := caddy.ProvisionContext(&caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		h := new(Handler)
		if json.Unmarshal(config, h) != nil {
			return
		}
		if h.ClientSecret != nil { // so that it can be told from the rest
			*h.ClientSecret = "hunter2-" + *h.ClientSecret
		}
		ctx, cancel := caddy.NewContext(around)
		defer cancel()
		err := h.Provision(ctx)
		defer func() {
			if err := h.Cleanup(); err != nil {
				t.Error(err)
			}
		}()
		log := zapcore.NewMapObjectEncoder()
		_ = h.MarshalLogObject(log)
		if printed := fmt.Sprintf("%v %+v %#v %v", err, h, *h, log.Fields); strings.Contains(printed, "hunter2-") {
			t.Errorf("a secret is printed: %s", printed)
		}
		if err != nil {
			return
		}
		redirect, err := url.Parse(h.RedirectURI)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"redirect_uri": h.RedirectURI, "auth_server": h.AuthServer, "verify_access_token": h.VerifyAccessToken} {
			if u, err := url.Parse(text); text != "" && (err != nil || u.Scheme != "https" && (u.Scheme != "http" || !authserver.IsLoopback(u.Hostname()))) {
				t.Errorf("%s is %q", name, text)
			}
		}
		if secure := redirect.Scheme == "https"; h.site.cookies.secure != secure || strings.HasPrefix(h.site.cookies.session, hostPrefix) != secure {
			t.Errorf("%s has the cookie %q", h.RedirectURI, h.site.cookies.session)
		}
		if !strings.HasPrefix(h.site.addresses.login, strings.TrimSuffix(h.site.addresses.callback, "/")+"/") || h.site.addresses.callback == "/" || h.site.addresses.returnTarget(h.site.addresses.callback) != "/" {
			t.Errorf("%s has the paths %+v", h.RedirectURI, h.site.addresses)
		}
		if h.IdleTimeout <= 0 || h.MaxLifetime <= 0 || h.RefreshTimeout <= 0 || h.RefreshBefore < 0 || h.store == nil {
			t.Errorf("accepted %s", config)
		}
		if !isFieldName(h.site.guard.header.Field) || slices.Contains(reservedFields, h.site.guard.header.Field) {
			t.Errorf("the token goes into %q", h.site.guard.header.Field)
		}
	})
}
