package truelayer

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterDirective("truelayer", parseDirective)
	// before forward_auth and basic_auth it would take the credentials away
	// that they check, or hand them the access token
	httpcaddyfile.RegisterDirectiveOrder("truelayer", httpcaddyfile.After, "forward_auth")
}

// parseDirective moves the directive's matcher into the handler, where it
// says which requests are protected. On the route it would keep the callback
// from ever reaching the handler.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name; ExtractMatcherSet goes back before it
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if err := checkSiblings(h, handler); err != nil {
		return nil, err
	}
	if matcher != nil {
		handler.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcher}
	}
	return h.NewRoute(nil, handler), nil
}

// UnmarshalCaddyfile sets the handler up from Caddyfile tokens. Syntax:
//
//	truelayer [<matcher>] {
//		client_id           <id>
//		client_secret       <secret>
//		redirect_uri        <absolute URL>
//		environment         live|sandbox
//		auth_server         <base URL>
//		scopes              <scope...>
//		providers           <provider...>
//		provider_id         <id>
//		auth_param          <name> <value>
//		issuer              <URL>
//		disable_pkce
//		token_header        <field> [<scheme>]
//		verify_access_token <jwks URL>
//		allow_origins       <origin...>
//		cookie_name         <name>
//		idle_timeout        <duration>
//		max_lifetime        <duration>
//		refresh_before      <duration>
//		refresh_timeout     <duration>
//		logout_redirect     <path or URL>
//		disable_logout
//		disconnect_on_logout
//		session_endpoint
//		store               <name> [{ ... }]
//		disable_error_pages
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Err("truelayer takes a matcher and a block, nothing else on its line")
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		parse, ok := options[option]
		if !ok {
			return d.Errf("unknown option %q: truelayer has %s", option, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		}
		if seen[option] && option != "auth_param" {
			return d.Errf("%s is given twice: keep one", option)
		}
		seen[option] = true
		if err := parse(h, d); err != nil {
			return d.WrapErr(err)
		}
	}
	for _, option := range []string{"client_id", "client_secret", "redirect_uri"} {
		if !seen[option] {
			return d.Errf("%s is missing: truelayer needs client_id, client_secret and redirect_uri", option)
		}
	}
	return nil
}

// options holds one parser for each option; the dispenser stands on its name.
var options = map[string]func(*Handler, *caddyfile.Dispenser) error{
	"client_id": func(h *Handler, d *caddyfile.Dispenser) error {
		return oneArg(d, &h.ClientID)
	},
	"client_secret": func(h *Handler, d *caddyfile.Dispenser) error {
		h.ClientSecret = new(string)
		return oneArg(d, h.ClientSecret)
	},
	"redirect_uri": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.RedirectURI); err != nil {
			return err
		}
		_, err := checkRedirectURI(h.RedirectURI)
		return err
	},
	"environment": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.Environment); err != nil {
			return err
		}
		return checkEnvironment(h.Environment)
	},
	"auth_server": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.AuthServer); err != nil {
			return err
		}
		return checkServerURL("auth_server", h.AuthServer)
	},
	"scopes": func(h *Handler, d *caddyfile.Dispenser) error {
		return words(d, &h.Scopes)
	},
	"providers": func(h *Handler, d *caddyfile.Dispenser) error {
		return words(d, &h.Providers)
	},
	"provider_id": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.ProviderID); err != nil {
			return err
		}
		return checkWords("provider_id", []string{h.ProviderID})
	},
	"auth_param": func(h *Handler, d *caddyfile.Dispenser) error {
		var name, value string
		if !d.AllArgs(&name, &value) {
			return fmt.Errorf("auth_param takes a name and a value")
		}
		if _, twice := h.AuthParam[name]; twice {
			return fmt.Errorf("auth_param %s is given twice: keep one", name)
		}
		if h.AuthParam == nil {
			h.AuthParam = make(map[string]string)
		}
		h.AuthParam[name] = value
		return checkAuthParam(name)
	},
	"disable_pkce": func(h *Handler, d *caddyfile.Dispenser) error {
		return flag(d, &h.DisablePKCE)
	},
	"token_header": func(h *Handler, d *caddyfile.Dispenser) error {
		h.TokenHeader = new(TokenHeader)
		switch args := d.RemainingArgs(); len(args) {
		case 2:
			h.TokenHeader.Scheme = args[1]
			fallthrough
		case 1:
			h.TokenHeader.Field = args[0]
		default:
			return fmt.Errorf("token_header takes a field and, if the token needs one, a scheme")
		}
		return h.TokenHeader.check()
	},
	"verify_access_token": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.VerifyAccessToken); err != nil {
			return err
		}
		return checkServerURL("verify_access_token", h.VerifyAccessToken)
	},
	"issuer": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.Issuer); err != nil {
			return err
		}
		return checkIssuer(h.Issuer)
	},
	"allow_origins": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := words(d, &h.AllowOrigins); err != nil {
			return err
		}
		for _, origin := range h.AllowOrigins {
			if err := checkOrigin(origin); err != nil {
				return err
			}
		}
		return nil
	},
	"cookie_name": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.CookieName); err != nil {
			return err
		}
		return checkCookieName(h.CookieName)
	},
	"idle_timeout": func(h *Handler, d *caddyfile.Dispenser) error {
		return duration(d, &h.IdleTimeout)
	},
	"max_lifetime": func(h *Handler, d *caddyfile.Dispenser) error {
		return duration(d, &h.MaxLifetime)
	},
	"refresh_before": func(h *Handler, d *caddyfile.Dispenser) error {
		return duration(d, &h.RefreshBefore)
	},
	"refresh_timeout": func(h *Handler, d *caddyfile.Dispenser) error {
		return duration(d, &h.RefreshTimeout)
	},
	"logout_redirect": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.LogoutRedirect); err != nil {
			return err
		}
		return checkLogoutRedirect(h.LogoutRedirect)
	},
	"disable_logout": func(h *Handler, d *caddyfile.Dispenser) error {
		return flag(d, &h.DisableLogout)
	},
	"disconnect_on_logout": func(h *Handler, d *caddyfile.Dispenser) error {
		return flag(d, &h.DisconnectOnLogout)
	},
	"session_endpoint": func(h *Handler, d *caddyfile.Dispenser) error {
		return flag(d, &h.SessionEndpoint)
	},
	"store": func(h *Handler, d *caddyfile.Dispenser) error {
		if !d.NextArg() {
			return fmt.Errorf("store takes the name of a store, for example memory")
		}
		name := d.Val()
		guest, err := caddyfile.UnmarshalModule(d, "http.truelayer.token_stores."+name)
		if err != nil {
			return err
		}
		h.StoreRaw = caddyconfig.JSONModuleObject(guest, "type", name, nil)
		return nil
	},
	"disable_error_pages": func(h *Handler, d *caddyfile.Dispenser) error {
		return flag(d, &h.DisableErrorPages)
	},
}

// oneArg reads an option's only argument. Its error, unlike the dispenser's
// own, does not repeat the argument: it may be the client secret.
func oneArg(d *caddyfile.Dispenser, value *string) error {
	option := d.Val()
	if !d.AllArgs(value) || *value == "" {
		return fmt.Errorf("%s takes one argument; quote it if it has spaces", option)
	}
	return nil
}

func words(d *caddyfile.Dispenser, values *[]string) error {
	option := d.Val()
	if *values = d.RemainingArgs(); len(*values) == 0 {
		return fmt.Errorf("%s takes one argument or more", option)
	}
	return checkWords(option, *values)
}

func flag(d *caddyfile.Dispenser, value *bool) error {
	option := d.Val()
	*value = true
	if d.NextArg() {
		return fmt.Errorf("%s takes no argument: it is on when it is there", option)
	}
	return nil
}

func duration(d *caddyfile.Dispenser, value *caddy.Duration) error {
	option := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%s %q is not a duration such as 30m, 8h or 7d", option, text)
	}
	*value = caddy.Duration(parsed)
	return checkPositive(option, *value)
}

// checkSiblings refuses two blocks that would take each other's visitors:
// with the same redirect URI only the first sees the callback, and with the
// same cookie name on one host each overwrites the other's sessions. Blocks
// that differ in their matcher only are one configuration and fine.
func checkSiblings(h httpcaddyfile.Helper, handler *Handler) error {
	settings, err := json.Marshal(handler) //nolint:gosec // compared and forgotten, never written; the matcher is not in it yet
	if err != nil {
		return err
	}
	claims := map[string]string{"redirect_uri " + handler.RedirectURI: string(settings)}
	if handler.CookieName != "" {
		redirect, err := url.Parse(handler.RedirectURI)
		if err != nil {
			return err
		}
		claims["cookie_name "+handler.CookieName+" on "+redirect.Host] = fmt.Sprintf("%q", []string{
			handler.ClientID, handler.Environment, handler.AuthServer, strings.Join(handler.Scopes, " "), handler.ProviderID,
			handler.VerifyAccessToken, handler.Issuer,
		})
	}
	for claim, by := range claims {
		key := "truelayer " + claim
		if earlier, ok := h.State[key]; ok && earlier != by {
			return h.Errf("%s is used by an earlier truelayer block with other settings: give each its own, or make the settings equal", claim)
		}
		h.State[key] = by
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
