package truelayer

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

// options is the table of the handler's options: how each is written in a Caddyfile,
// where it goes, its check and its default. The checks run for JSON as well.
func (h *Handler) options() block.Options {
	return block.Options{
		{Name: "client_id", Syntax: "<id>", Value: block.Word(&h.ClientID, ""), Required: true},
		{Name: "client_secret", Syntax: "<secret>", Value: block.Secret(&h.ClientSecret), Required: true},
		{Name: "redirect_uri", Syntax: "<absolute URL>", Value: block.Word(&h.RedirectURI, ""), Required: true, Check: h.checkRedirectURI},
		{Name: "environment", Syntax: "live|sandbox", Value: block.Word(&h.Environment, "live"), Check: h.checkEnvironment},
		{Name: "auth_server", Syntax: "<base URL>", Value: block.Word(&h.AuthServer, ""), Check: func() error { return checkServerURL("auth_server", h.AuthServer) }},
		{Name: "scopes", Syntax: "<scope...>", Value: block.Words(&h.Scopes, "verification"), Check: func() error { return checkWords("scopes", h.Scopes) }},
		{Name: "providers", Syntax: "<provider...>", Value: block.Words(&h.Providers), Check: func() error { return checkWords("providers", h.Providers) }},
		{Name: "provider_id", Syntax: "<id>", Value: block.Word(&h.ProviderID, ""), Check: func() error { return checkWords("provider_id", []string{h.ProviderID}) }},
		{Name: "bank_picker", Value: block.Sub(&h.BankPicker, func(p *BankPicker) block.Options {
			return block.Options{{Name: "remember", Value: block.Flag(&p.Remember)}}
		})},
		{Name: "consent", Value: block.Sub(&h.Consent, (*Consent).options), Check: func() error { return h.Consent.check() }},
		{Name: "verify_name", Syntax: "[<placeholder>]", Value: block.SubWith(&h.VerifyName, verifyNameArgument, (*VerifyName).options), Check: func() error { return h.VerifyName.check() }},
		{Name: "pages", Value: block.Sub(&h.Pages, (*Pages).options)},
		{Name: "auth_param", Syntax: "<name> <value>", Value: h.authParamArguments(), Check: h.checkAuthParams, Repeats: true},
		{Name: "issuer", Syntax: "<URL>", Value: block.Word(&h.Issuer, ""), Check: h.checkIssuer},
		{Name: "disable_pkce", Value: block.Flag(&h.DisablePKCE)},
		{Name: "token_header", Syntax: "<field> [<scheme>]", Value: h.tokenHeaderArguments(), Check: func() error { return h.TokenHeader.check() }},
		{Name: "verify_access_token", Syntax: "<jwks URL>", Value: block.Word(&h.VerifyAccessToken, ""), Check: func() error { return checkServerURL("verify_access_token", h.VerifyAccessToken) }},
		{Name: "allow_origins", Syntax: "<origin...>", Value: block.Words(&h.AllowOrigins), Check: h.checkAllowOrigins},
		{Name: "cookie_name", Syntax: "<name>", Value: block.Word(&h.CookieName, ""), Check: h.checkCookieName},
		{Name: "idle_timeout", Syntax: "<duration>", Value: block.Duration(&h.IdleTimeout, 8*time.Hour)},
		{Name: "max_lifetime", Syntax: "<duration>", Value: block.Duration(&h.MaxLifetime, 24*time.Hour)},
		{Name: "refresh_before", Syntax: "<duration>", Value: block.Duration(&h.RefreshBefore, 0)},
		{Name: "refresh_timeout", Syntax: "<duration>", Value: block.Duration(&h.RefreshTimeout, 10*time.Second)},
		{Name: "renew_before", Syntax: "<duration>", Value: block.Duration(&h.RenewBefore, 7*24*time.Hour)},
		{Name: "logout_redirect", Syntax: "<path or URL>", Value: block.Word(&h.LogoutRedirect, ""), Check: h.checkLogoutRedirect},
		{Name: "disable", Syntax: "<logout|session|connection...>", Value: block.Choices(&h.Disable, disableLogout, disableSession, disableConnection)},
		{Name: "disconnect_on", Syntax: "<logout|replace...>", Value: block.Choices(&h.DisconnectOn, disconnectOnLogout, disconnectOnReplace)},
		{Name: "store", Syntax: "<name> [{ ... }]", Value: block.Module{
			Field: &h.StoreRaw, Namespace: "http.truelayer.token_stores", Key: "type", What: "store", Example: "memory", Fallback: "memory",
			Remedies: map[string]string{"redis": "build Caddy with github.com/caddy-truelayer/caddy-truelayer/redisstore as well (xcaddy build --with)"},
		}},
		{Name: "disable_error_pages", Value: block.Flag(&h.DisableErrorPages)},
	}
}

// The values of disable and disconnect_on.
const (
	disableLogout       = "logout"
	disableSession      = "session"
	disableConnection   = "connection"
	disconnectOnLogout  = "logout"
	disconnectOnReplace = "replace"
)

func (h *Handler) authParamArguments() block.Value {
	return block.Arguments{
		IsSet: func() bool { return len(h.AuthParam) > 0 },
		Read: func(args []string) error {
			if len(args) != 2 {
				return errors.New("auth_param takes a name and a value")
			}
			name := args[0]
			if _, twice := h.AuthParam[name]; twice {
				return fmt.Errorf("auth_param %s is given twice: keep one", name)
			}
			if h.AuthParam == nil {
				h.AuthParam = make(map[string]string)
			}
			h.AuthParam[name] = args[1]
			return nil
		},
	}
}

func (h *Handler) tokenHeaderArguments() block.Value {
	return block.Arguments{
		IsSet:      func() bool { return h.TokenHeader != nil },
		SetDefault: func() { h.TokenHeader = &TokenHeader{Field: "Authorization", Scheme: "Bearer"} },
		Read: func(args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return errors.New("token_header takes a field and, if the token needs one, a scheme")
			}
			h.TokenHeader = &TokenHeader{Field: args[0]}
			if len(args) == 2 {
				h.TokenHeader.Scheme = args[1]
			}
			return nil
		},
	}
}

// prepareOptions fills in what the configuration left out, checks every option
// whose value is literal, and returns the redirect URI.
func (h *Handler) prepareOptions() (*url.URL, error) {
	options := h.options()
	options.SetDefaults()
	redirect, err := checkRedirectURI(h.RedirectURI)
	if err != nil {
		return nil, err
	}
	if err := h.checkEnvironment(); err != nil {
		return nil, err
	}
	h.setDefaultsOfEnvironment()
	if err := h.checkVerifyAPI(); err != nil {
		return nil, err
	}
	return redirect, options.Check()
}

// setDefaultsOfEnvironment fills in what depends on another option.
func (h *Handler) setDefaultsOfEnvironment() {
	environment := environments[h.Environment]
	if h.AuthServer == "" {
		h.AuthServer = environment.authServer
	}
	h.AuthServer = strings.TrimSuffix(h.AuthServer, "/")
	if h.Issuer == "" {
		h.Issuer = h.AuthServer
	}
	if len(h.Providers) == 0 {
		h.Providers = environment.providers
	}
	if h.VerifyName != nil && h.VerifyName.API == "" && h.AuthServer == environment.authServer {
		h.VerifyName.API = environment.api
	}
}
