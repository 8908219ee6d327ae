package truelayer

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

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
//		bank_picker {
//			remember
//		}
//		consent {
//			controller      <name>
//			purpose         <text>
//			terms_url       <absolute URL>
//			user            <name> [<email>]
//			fallback_dialog
//		}
//		verify_name [<placeholder>] {
//			min_score             <n>
//			max_age               <duration>
//			timeout               <duration>
//			api                   <base URL>
//			omit_client_ip
//			expose_account_holder
//			trust_header
//		}
//		pages {
//			name         <text>
//			logo         <file>
//			accent       <color>
//			language     <tag>
//			template_dir <dir>
//		}
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
//		renew_before        <duration>
//		logout_redirect     <path or URL>
//		disable             <logout|session|connection...>
//		disconnect_on       <logout|replace...>
//		store               <name> [{ ... }]
//		disable_error_pages
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Err("truelayer takes a matcher and a block, nothing else on its line; a path matcher begins with a slash")
	}
	if err := h.options().Read(d, "truelayer"); err != nil {
		return err
	}
	if err := h.checkVerifyAPI(); err != nil {
		return d.WrapErr(err)
	}
	return nil
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
