package truelayer

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2"
)

func TestProvisionErrors(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		change func(*Handler)
		want   string
	}{
		"no client_id":         {func(h *Handler) { h.ClientID = "" }, "client_id is missing"},
		"no client_secret":     {func(h *Handler) { h.ClientSecret = nil }, "client_secret is missing"},
		"empty client_secret":  {func(h *Handler) { h.ClientSecret = text("") }, "client_secret is missing"},
		"unset variable":       {func(h *Handler) { h.ClientSecret = text("{env.TRUELAYER_NOT_SET}") }, "client_secret: the placeholder {env.TRUELAYER_NOT_SET} is unknown or empty"},
		"unknown placeholder":  {func(h *Handler) { h.ClientSecret = text("hunter2{nothing}") }, "client_secret: the placeholder {nothing} is unknown or empty"},
		"missing file":         {func(h *Handler) { h.ClientSecret = text("{file./does/not/exist}") }, "client_secret: the placeholder {file./does/not/exist} is unknown or empty"},
		"secret with a space":  {func(h *Handler) { h.ClientSecret = text("hunter2 ") }, "client_secret has a space"},
		"endless client_id":    {func(h *Handler) { h.ClientID = strings.Repeat("c", 2000) }, "client_id is longer than"},
		"no redirect_uri":      {func(h *Handler) { h.RedirectURI = "" }, "redirect_uri is missing"},
		"plain http":           {func(h *Handler) { h.RedirectURI = "http://app.example.com/t" }, "plain http"},
		"unknown environment":  {func(h *Handler) { h.Environment = "test" }, "use live or sandbox"},
		"auth_server":          {func(h *Handler) { h.AuthServer = "http://auth.example" }, "auth_server"},
		"scope":                {func(h *Handler) { h.Scopes = []string{"a b"} }, "scopes"},
		"provider":             {func(h *Handler) { h.Providers = []string{""} }, "providers has an empty value"},
		"auth_param":           {func(h *Handler) { h.AuthParam = map[string]string{"state": "x"} }, "auth_param state"},
		"token_header":         {func(h *Handler) { h.TokenHeader = &TokenHeader{} }, "token_header"},
		"cookie_name":          {func(h *Handler) { h.CookieName = "a b" }, "cookie_name"},
		"idle_timeout":         {func(h *Handler) { h.IdleTimeout = -1 }, "idle_timeout"},
		"max_lifetime":         {func(h *Handler) { h.MaxLifetime = -1 }, "max_lifetime"},
		"verify_access_token":  {func(h *Handler) { h.VerifyAccessToken = "keys" }, "verify_access_token"},
		"unknown store":        {func(h *Handler) { h.StoreRaw = json.RawMessage(`{"type":"clay"}`) }, "loading the store"},
		"max_sessions":         {func(h *Handler) { h.StoreRaw = json.RawMessage(`{"type":"memory","max_sessions":-1}`) }, "max_sessions"},
		"unknown store option": {func(h *Handler) { h.StoreRaw = json.RawMessage(`{"type":"memory","size":1}`) }, "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tryProvision(t, test.change)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got error %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestPlaceholdersExpandAtLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_ID", "from-the-environment")
	h := provision(t, func(h *Handler) {
		h.ClientID = "{env.TEST_ID}"
		secret := "{file." + file + "}"
		h.ClientSecret = &secret
	})
	if h.sessions.Client.ID != "from-the-environment" || h.sessions.Client.Secret.Reveal() != "from-a-file" {
		t.Errorf("id %q, secret %q", h.sessions.Client.ID, h.sessions.Client.Secret.Reveal())
	}
	if h.ClientID != "{env.TEST_ID}" {
		t.Error("the configuration itself was expanded")
	}
}

func TestEnvironmentWarnings(t *testing.T) {
	for _, test := range []struct {
		environment, id string
		warned          bool
	}{
		{"live", "shop-1234", false},
		{"live", "sandbox-shop-1234", true},
		{"sandbox", "sandbox-shop-1234", false},
		{"sandbox", "shop-1234", true},
	} {
		core, logs := observer.New(zapcore.WarnLevel)
		h := &Handler{Environment: test.environment, RedirectURI: testOrigin + "/truelayer", logger: zap.New(core)}
		if _, err := h.prepareOptions(); err != nil {
			t.Fatal(err)
		}
		h.match, h.ClientSecret = nil, new("{env.SECRET}")
		h.warn(test.id, askedFor{})
		if got := logs.Len() > 0; got != test.warned {
			t.Errorf("%s with %s: warned: %v", test.id, test.environment, got)
		}
	}
}

// TestCookieNamesDiffer: blocks for other connections do not disturb each
// other, and a reload that changes something else keeps everybody signed in.
func TestCookieNamesDiffer(t *testing.T) {
	name := func(change func(*Handler)) string { return provision(t, change).site.cookies.session }
	base := name(func(*Handler) {})
	for what, change := range map[string]func(*Handler){
		"client":      func(h *Handler) { h.ClientID = "other" },
		"auth server": func(h *Handler) { h.Environment = "sandbox" },
		"scopes":      func(h *Handler) { h.Scopes = []string{"info"} },
		"provider":    func(h *Handler) { h.ProviderID = "ob-monzo" },
	} {
		if name(change) == base {
			t.Errorf("another %s gives the same cookie name", what)
		}
	}
	for what, change := range map[string]func(*Handler){
		"secret":    func(h *Handler) { s := "rotated"; h.ClientSecret = &s },
		"lifetime":  func(h *Handler) { h.IdleTimeout = 1 },
		"providers": func(h *Handler) { h.Providers = []string{"uk-ob-monzo"} },
		"header":    func(h *Handler) { h.TokenHeader = &TokenHeader{Field: "X-Token"} },
	} {
		if name(change) != base {
			t.Errorf("another %s gives another cookie name", what)
		}
	}
	if got := name(func(h *Handler) { h.CookieName = "bank" }); got != "__Host-bank" {
		t.Errorf("cookie_name bank gives %s", got)
	}
	if got := name(func(h *Handler) { h.CookieName = "bank"; h.RedirectURI = "http://localhost/t" }); got != "bank" {
		t.Errorf("cookie_name bank on plain http gives %s", got)
	}
}

// TestFailedProvisionReleasesNothing: Cleanup after a Provision that failed
// must not take the running configuration's auth server away.
func TestFailedProvisionReleasesNothing(t *testing.T) {
	running := provision(t, func(*Handler) {})
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	broken := &Handler{ClientID: "client", RedirectURI: testOrigin + "/truelayer"}
	if err := broken.Provision(ctx); err == nil {
		t.Fatal("no error")
	}
	if err := broken.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if refs, ok := authServers.References(running.AuthServer); !ok || refs != 1 {
		t.Errorf("%d references to the auth server", refs)
	}
}
