// Package truelayer is a Caddy module that puts a bank login in front of any
// web application: it connects visitors to their bank through TrueLayer, keeps
// the tokens on the server, and attaches the access token to what is proxied.
package truelayer

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

//go:generate go run ./internal/optionsdoc

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler gives the application behind it a bank login. A visitor without a
// bank connection is sent to TrueLayer's auth link; when the bank sends them
// back to the redirect URI, the one-time code is exchanged for an access token.
// The tokens stay on the server; the browser holds one opaque cookie. Every
// protected request goes on with `Authorization: Bearer <access token>`, and a
// client's own field of that name never reaches the application.
//
// A page that a person opens is answered with a redirect to the bank, anything
// else without a connection with 401 and an `application/problem+json` body
// that names the login URL. With a refresh token (scope `offline_access`) access
// tokens are refreshed before they end; without one a session ends with its
// access token.
//
// Below the redirect URI's path lie the login URL,
// `<redirect path>/login?return=<path>`, which starts a login and then goes to
// the path, `<redirect path>/logout`, which ends the session on POST and asks on
// GET, `<redirect path>/session`, which describes the session in JSON, and with
// `bank_picker` `<redirect path>/banks`, where visitors choose their bank, and with
// `consent` `<redirect path>/consent`, where they consent. With `verify_name` without
// a placeholder `<redirect path>/name` is where visitors say their name.
// `<redirect path>/connection` shows visitors their bank connection; its buttons, which
// POST to `<redirect path>/renew` and `<redirect path>/disconnect`, renew and end it.
//
// The handler sets these placeholders on protected requests; on others they are
// empty, unless another handler has set them. No token is ever one of them:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | A stable id of the bank connection, not a secret.
// `{http.truelayer.connection}` | The same id, which no other handler sets.
// `{http.truelayer.provider}` | The bank, for example `ob-monzo`, as far as TrueLayer names it.
// `{http.truelayer.scopes}` | The granted scopes, separated by spaces.
// `{http.truelayer.expires_in}` | Seconds until the access token expires.
// `{http.truelayer.consent_expires}` | When the consent is over, in the form of RFC 3339.
// `{http.truelayer.consent_expires_in}` | Seconds until the consent is over.
// `{http.truelayer.connection_url}` | The page on which a visitor sees the bank connection, unless it is disabled.
// `{http.truelayer.renew_url}` | Where a form POSTs to renew the consent, once `renew_before` has begun.
// `{http.truelayer.verification}` | With `verify_name`, the bank's word on the visitor's name: `match`, `no_match`, `not_verifiable`, `unavailable` or `not_asked`.
// `{http.truelayer.match_score}` | How well the names match, from 0 to 100, as far as TrueLayer says.
// `{http.truelayer.verified_at}` | When the bank was asked, in the form of RFC 3339.
// `{http.truelayer.claimed_name}` | The name that the visitor has given on `<redirect path>/name`, if `verify_name` has no placeholder.
// `{http.truelayer.account_holder}` | The name of the account's holder, with `expose_account_holder` only.
//
// On an answer of its own that is an error it sets `{http.truelayer.error}` to
// a reason code such as `access_denied`, for `handle_errors`.
//
// [Your first site](https://github.com/caddy-truelayer/caddy-truelayer/blob/main/docs/first-site.md)
// goes through the set-up.
type Handler struct {
	// The application's client id from TrueLayer's Console. Required. Accepts
	// global placeholders such as `{env.TRUELAYER_CLIENT_ID}`, expanded when
	// the configuration is loaded.
	ClientID string `json:"client_id,omitempty"`

	// The client secret. Required. Accepts global placeholders, expanded when
	// the configuration is loaded; write `{env.TRUELAYER_CLIENT_SECRET}` or
	// `{file./path}`, since a literal secret (and `{$VAR}`) can be read in the
	// configuration that Caddy's admin endpoint shows.
	ClientSecret *string `json:"client_secret,omitempty"` // a pointer, so that no formatter prints it

	// The absolute URL that TrueLayer sends visitors back to, exactly as it is
	// registered in the Console. Required; literal, without placeholders,
	// query or fragment. Its path belongs to this module: it is the callback,
	// and the other endpoints lie below it. Plain http only for a loopback
	// host. Its scheme decides whether cookies are Secure, so it is right
	// behind a TLS terminator too.
	RedirectURI string `json:"redirect_uri,omitempty"`

	// `live` or `sandbox`: which of TrueLayer's auth servers is used.
	// Default: `live`.
	Environment string `json:"environment,omitempty"`

	// The base URL of the auth server, in place of the environment's. Plain
	// http only for a loopback host. Default: the environment's.
	AuthServer string `json:"auth_server,omitempty"`

	// The scopes to ask for. Default: `verification`.
	Scopes []string `json:"scopes,omitempty"`

	// The providers, or groups of them, that visitors choose from. Default:
	// `uk-ob-all uk-oauth-all`; with `environment sandbox`, `uk-cs-mock`.
	Providers []string `json:"providers,omitempty"`

	// One provider, such as `ob-monzo`: visitors skip the choice of a bank.
	// `providers` has to cover it, by a group that it belongs to or by this very
	// id. Default: none.
	ProviderID string `json:"provider_id,omitempty"`

	// Let visitors choose their bank on a page of the site's own, `<redirect path>/banks`,
	// in place of TrueLayer's dialog. The page has the banks that TrueLayer lists for the
	// client and that `providers` covers. Default: off.
	BankPicker *BankPicker `json:"bank_picker,omitempty"`

	// Let visitors consent on a page of the site's own, `<redirect path>/consent`, and go
	// from there straight to their bank. TrueLayer has to approve a client for this; in
	// its sandbox each may. It is for visitors who choose their bank on the site, by
	// `bank_picker`, `provider_id` or a link. All others consent in TrueLayer's dialog.
	// Default: off.
	Consent *Consent `json:"consent,omitempty"`

	// Have the visitor's bank say whether a name is that of the account's holder. The
	// application reads the answer from placeholders, and `truelayer_require` refuses
	// visitors whose name is another. Needs the scope `verification`. Default: off.
	VerifyName *VerifyName `json:"verify_name,omitempty"`

	// How the module's own pages look, and which language they speak. Default: see there.
	Pages *Pages `json:"pages,omitempty"`

	// Further parameters of the auth link, by name. The ones that the module
	// sets, and `response_mode`, are refused. Default: none.
	AuthParam map[string]string `json:"auth_param,omitempty"`

	// The issuer (RFC 9207) that the auth server calls itself: it has to be in
	// the callback if that names one, and in tokens that are verified. Default:
	// the auth server's URL.
	Issuer string `json:"issuer,omitempty"`

	// Leave PKCE (RFC 7636) out of the auth link and the exchange. TrueLayer
	// documents PKCE for other calls than this link; turn it off only if the
	// link is refused because of it.
	DisablePKCE bool `json:"disable_pkce,omitempty"`

	// The header field that carries the access token upstream. Default:
	// `Authorization` with the scheme `Bearer`.
	TokenHeader *TokenHeader `json:"token_header,omitempty"`

	// The URL of a JSON Web Key Set. When set, the signature, issuer, expiry
	// and client of every new access token are checked with it (RFC 9068), and
	// nobody gets a session while they cannot be checked. The keys are fetched
	// at the first login. Plain http only for a loopback host. Default: none,
	// tokens are opaque. The key set for TrueLayer's webhooks is another one.
	VerifyAccessToken string `json:"verify_access_token,omitempty"`

	// Other origins, such as `https://www.example.com`, whose pages may use a
	// visitor's session: with methods that change something, and with WebSockets.
	// Their preflight requests (CORS) to protected paths are answered here, never by
	// the application. Browsers send the session to sibling subdomains' requests, so
	// anything else from another origin is answered with 403. Default: none but the
	// redirect URI's own.
	AllowOrigins []string `json:"allow_origins,omitempty"`

	// The name of the session cookie; the names of the module's other cookies, `…-login-0` and
	// so on, `…-bank` and `…-form`, begin with it, and an application cannot use them.
	// With an https redirect URI `__Host-` is put before it. Default:
	// `truelayer-` and 8 hex digits that depend on client id, auth server,
	// scopes and provider, so that blocks do not disturb each other.
	CookieName string `json:"cookie_name,omitempty"`

	// How long a session lasts without being used. It may last up to a thirty-second
	// part longer, since not every use is written down. An open WebSocket or event
	// stream counts as use. Default: 8h.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// How long a session lasts at most. Default: 24h.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`

	// How long before its end an access token is refreshed, behind the requests
	// that still use it; spread by up to a quarter. At most half of the token's
	// life. Default: the smaller of 5m and a tenth of the token's life.
	RefreshBefore caddy.Duration `json:"refresh_before,omitempty"`

	// How long a request whose access token has expired waits for its refresh.
	// Default: 10s.
	RefreshTimeout caddy.Duration `json:"refresh_timeout,omitempty"`

	// How long before the consent ends visitors are offered to renew it: on
	// `<redirect path>/connection`, by the session endpoint's `renew_url`, and by
	// `{http.truelayer.renew_url}`. Default: 7d.
	RenewBefore caddy.Duration `json:"renew_before,omitempty"`

	// Where a visitor goes after signing out: a path of the site, or an
	// absolute URL. Default: a page of the module's own that says so.
	LogoutRedirect string `json:"logout_redirect,omitempty"`

	// Which of the addresses below the redirect URI's path are left to the
	// application: `logout`, which signs a visitor out, `session`, which tells a
	// front end as JSON whether there is a session and how long it lasts, and
	// `connection`, the page about the bank connection together with `renew` and
	// `disconnect`, where its buttons lead. Default: none.
	Disable []string `json:"disable,omitempty"`

	// When the connection is ended at TrueLayer too, as far as TrueLayer can be
	// reached: `logout`, when a visitor signs out, and `replace`, when a new login has
	// replaced the session and its access token names another connection. Default: never.
	DisconnectOn []string `json:"disconnect_on,omitempty"`

	// Where sessions are kept. Default: `memory`.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.truelayer.token_stores inline_key=type"`

	// Return errors to Caddy, for `handle_errors` to draw, instead of writing
	// the module's own pages. Of a callback the visitor is first sent to an address
	// without code and state, which Caddy's error log and the error routes would see.
	// What is no error stays: the pages at addresses of the module's own, such as the
	// choice of a bank, the consent, the name and signing out, also when a form on one
	// of them is shown again. So do the page on which a login waits for its turn,
	// the one that tells of a callback at a wrong path, and the 401 for machines.
	DisableErrorPages bool `json:"disable_error_pages,omitempty"`

	// Which requests are protected. Default: all. If an earlier handler
	// rewrote the request, it is protected when either form matches.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	site     *site
	sessions *session.Manager
	match    caddyhttp.MatcherSets
	store    TokenStore
	banks    *bankChoice
	server   *caddyhttp.Server // nil if the block is in none
	release  []func() error    // what Cleanup has to give back
	logger   *zap.Logger
	now      func() time.Time
}

// BankPicker is the site's own page on which visitors choose their bank.
type BankPicker struct {
	// Remember which bank a browser has connected, for 90 days, and offer it first at the
	// next login. Whoever uses the browser next sees it, so it is off by default.
	Remember bool `json:"remember,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.truelayer",
		New: func() caddy.Module { return new(Handler) },
	}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.site.serve(w, r, next)
}

// MarshalLogObject implements zapcore.ObjectMarshaler. The server option
// `trace` logs handlers; without this their secrets would be in the log.
func (h *Handler) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("client_id", h.ClientID)
	enc.AddString("redirect_uri", h.RedirectURI)
	enc.AddString("auth_server", h.AuthServer)
	enc.AddString("scopes", strings.Join(h.Scopes, " "))
	return nil
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ zapcore.ObjectMarshaler     = (*Handler)(nil)
)
