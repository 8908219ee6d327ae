package truelayer

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestWarnings: each mistake that loads is told of once, with what to do about it,
// and what is right is not.
func TestWarnings(t *testing.T) {
	path := func(patterns ...string) caddyhttp.RawMatcherSets {
		raw, err := json.Marshal(patterns)
		if err != nil {
			t.Fatal(err)
		}
		return caddyhttp.RawMatcherSets{{"not": []byte(`[{"path":` + string(raw) + `}]`)}}
	}
	for name, test := range map[string]struct {
		change func(*Handler)
		want   string // "" for no warning
	}{
		"the least":                {func(*Handler) {}, ""},
		"everything of the data":   {func(h *Handler) { h.Scopes = []string{"info", "accounts", "offline_access"} }, ""},
		"commas in scopes":         {func(h *Handler) { h.Scopes = []string{"info,accounts"} }, `comma in "info,accounts": separate scopes by spaces`},
		"an unknown scope":         {func(h *Handler) { h.Scopes = []string{"verify"} }, `"verify" is not in TrueLayer's documentation: check its spelling`},
		"verification beside data": {func(h *Handler) { h.Scopes = []string{"verification", "info"} }, "use a block for each if logins fail"},
		"names without their scope": {
			func(h *Handler) { h.Scopes = []string{"info"}; h.VerifyName = new(VerifyName) },
			"add verification to scopes",
		},
		"names with their scope": {func(h *Handler) { h.VerifyName = new(VerifyName) }, ""},
		"commas in providers":    {func(h *Handler) { h.Providers = []string{"uk-ob-all,uk-oauth-all"} }, "separate providers by spaces"},
		"a provider of a group":  {func(h *Handler) { h.ProviderID = "ob-monzo" }, ""},
		"a provider of another": {
			func(h *Handler) { h.ProviderID = "ob-monzo"; h.Providers = []string{"uk-oauth-all"} },
			"provider_id ob-monzo is not covered by providers uk-oauth-all: add it there",
		},
		"a provider with its country": {func(h *Handler) { h.ProviderID = "ob-monzo"; h.Providers = []string{"uk-ob-monzo"} }, ""},
		"the mock bank":               {func(h *Handler) { h.ProviderID = "mock"; h.Providers = []string{"uk-cs-mock"} }, ""},
		"an unknown group":            {func(h *Handler) { h.ProviderID = "xs2a-x"; h.Providers = []string{"de-xs2a-all"} }, ""},
		"consent without a choice":    {func(h *Handler) { h.Consent = testConsent() }, "add bank_picker"},
		"consent with a choice":       {func(h *Handler) { h.Consent, h.BankPicker = testConsent(), new(BankPicker) }, ""},
		"consent for one bank":        {func(h *Handler) { h.Consent, h.ProviderID = testConsent(), "ob-monzo" }, ""},
		"idle above the most": {func(h *Handler) {
			h.Scopes = []string{"info", "offline_access"}
			h.IdleTimeout, h.MaxLifetime = caddy.Duration(48*time.Hour), caddy.Duration(24*time.Hour)
		}, "raise max_lifetime or lower idle_timeout"},
		"renewals that sessions do not see": {
			func(h *Handler) {
				h.RenewBefore, h.MaxLifetime = caddy.Duration(14*24*time.Hour), caddy.Duration(30*24*time.Hour)
			},
			"raise max_lifetime to more than 1824h0m0s",
		},
		"renewals that sessions see": {func(h *Handler) {
			h.RenewBefore, h.MaxLifetime = caddy.Duration(14*24*time.Hour), caddy.Duration(80*24*time.Hour)
		}, ""},
		"no offline_access":        {func(h *Handler) { h.IdleTimeout = caddy.Duration(8 * time.Hour) }, "add offline_access to scopes"},
		"a literal secret":         {func(h *Handler) { h.ClientSecret = new("hunter2") }, "write {env.TRUELAYER_CLIENT_SECRET} or {file./path}"},
		"a shell's variable":       {func(h *Handler) { h.ClientID = "$TRUELAYER_CLIENT_ID" }, "client_id begins with $, which nothing replaces: write {env.NAME}"},
		"an endpoint":              {func(h *Handler) { h.AuthServer = "https://auth.truelayer.com/connect/token" }, "leave /connect/token out"},
		"an auth server's prefix":  {func(h *Handler) { h.AuthServer = "https://auth.example.com/truelayer" }, ""},
		"a path without its slash": {func(h *Handler) { h.MatcherSetsRaw = path("/", "about") }, `path "about", which no request has: begin it with a slash`},
		"one page, not its section": {
			func(h *Handler) { h.MatcherSetsRaw = caddyhttp.RawMatcherSets{{"path": []byte(`["/account"]`)}} },
			"the matcher protects /account alone, and nothing below it: write /account*",
		},
		"a page and its section": {func(h *Handler) {
			h.MatcherSetsRaw = caddyhttp.RawMatcherSets{{"path": []byte(`["/account", "/account/*"]`)}}
		}, ""},
		"paths":            {func(h *Handler) { h.MatcherSetsRaw = path("/", "*.css", "/a*") }, ""},
		"a sandbox client": {func(h *Handler) { h.ClientID = "sandbox-client" }, "set environment sandbox or use a live client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TEST_SECRET", "hunter2")
			core, logs := observer.New(zapcore.WarnLevel)
			h := &Handler{ClientID: "client", ClientSecret: new("{env.TEST_SECRET}"), RedirectURI: testOrigin + "/truelayer"}
			test.change(h)
			ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
			defer cancel()
			asked := askedFor{lifetime: h.IdleTimeout != 0, renewal: h.RenewBefore != 0}
			if _, err := h.prepareOptions(); err != nil {
				t.Fatal(err)
			}
			if err := h.loadModules(ctx); err != nil {
				t.Fatal(err)
			}
			h.logger = zap.New(core)
			h.warn(h.ClientID, asked)
			lines := logs.All()
			switch {
			case test.want == "" && len(lines) > 0:
				t.Errorf("warned: %v", lines)
			case test.want != "" && (len(lines) != 1 || !strings.Contains(lines[0].Message, test.want)):
				t.Errorf("got %v, want %q", lines, test.want)
			}
			for _, line := range lines {
				if strings.Contains(line.Message, "hunter2") {
					t.Errorf("a secret is in the log: %v", line)
				}
			}
		})
	}
}
