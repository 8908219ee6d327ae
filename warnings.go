package truelayer

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/banks"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// knownScopes are the scopes of TrueLayer's documentation that a user's login can
// ask for. TrueLayer adds to them, so another one is no error.
var knownScopes = []string{
	"info", "accounts", "balance", "cards", "transactions", "direct_debits", "standing_orders", "offline_access", "verification",
	"products", "beneficiaries",
}

// warn warns of a configuration that loads and does not do what its author means.
// Each warning says what to do.
func (h *Handler) warn(clientID string, asked askedFor) {
	for _, warning := range slices.Concat(h.optionWarnings(clientID, asked), h.credentialWarnings(), h.matcherWarnings()) {
		h.logger.Warn(warning, zap.String("redirect_uri", h.RedirectURI))
	}
}

// askedFor says which options the configuration itself has, not only by default.
type askedFor struct {
	lifetime bool // idle_timeout or max_lifetime
	renewal  bool // renew_before
}

// optionWarnings are the warnings of options that do not fit together.
func (h *Handler) optionWarnings(clientID string, asked askedFor) []string {
	warnings := slices.Concat(h.environmentWarnings(clientID), h.scopeWarnings(asked.lifetime), h.providerWarnings())
	if h.Consent != nil && h.BankPicker == nil && h.ProviderID == "" {
		warnings = append(warnings, "consent without bank_picker or provider_id is only for links to the login URL with provider: all other visitors choose their bank and consent in TrueLayer's dialog; add bank_picker")
	}
	for name := range h.AuthParam {
		if h.Consent != nil && name != "tracking_id" {
			warnings = append(warnings, fmt.Sprintf("auth_param %s is not sent for visitors who consent on the site's own page: TrueLayer's links to banks take no such parameter", name))
		}
	}
	if h.IdleTimeout > h.MaxLifetime {
		warnings = append(warnings, fmt.Sprintf("idle_timeout %v is longer than max_lifetime, %v, which ends every session first: raise max_lifetime or lower idle_timeout",
			time.Duration(h.IdleTimeout), time.Duration(h.MaxLifetime)))
	}
	if first := session.ConsentLifetime - time.Duration(h.RenewBefore); asked.renewal && time.Duration(h.MaxLifetime) < first {
		warnings = append(warnings, fmt.Sprintf("renew_before %v is hardly ever reached: a consent usually lasts 90 days, and max_lifetime %v ends each session before: raise max_lifetime to more than %v",
			time.Duration(h.RenewBefore), time.Duration(h.MaxLifetime), first))
	}
	return warnings
}

// environmentWarnings name the most common mix-up: such a client is refused on
// a page of TrueLayer's own and the visitor never comes back.
func (h *Handler) environmentWarnings(clientID string) (warnings []string) {
	sandboxClient := strings.HasPrefix(clientID, "sandbox-")
	switch h.AuthServer {
	case environments["live"].authServer:
		if sandboxClient {
			warnings = append(warnings, "client_id begins with sandbox- but the environment is live; set environment sandbox or use a live client")
		}
	case environments["sandbox"].authServer:
		if !sandboxClient {
			warnings = append(warnings, "client_id does not begin with sandbox- but the environment is sandbox; set environment live or use a sandbox client")
		}
	}
	if u, err := url.Parse(h.AuthServer); err == nil && strings.HasPrefix(u.Path, "/connect") {
		warnings = append(warnings, fmt.Sprintf("auth_server %q has the path of an endpoint, which the module adds itself: leave %s out", h.AuthServer, u.Path))
	}
	return warnings
}

func (h *Handler) credentialWarnings() (warnings []string) {
	for _, credential := range [][2]string{{"client_id", h.ClientID}, {"client_secret", *h.ClientSecret}} {
		option, value := credential[0], credential[1]
		switch {
		case strings.HasPrefix(value, "$"):
			warnings = append(warnings, option+" begins with $, which nothing replaces: write {env.NAME}")
		case option == "client_secret" && !strings.Contains(value, "{"):
			warnings = append(warnings, "client_secret stands in the configuration itself, where Caddy's admin endpoint shows it: write {env.TRUELAYER_CLIENT_SECRET} or {file./path} ({$NAME} is replaced too early)")
		}
	}
	return warnings
}

func (h *Handler) scopeWarnings(asked bool) (warnings []string) {
	warnings = spellingWarnings(h.Scopes, nil)
	data := slices.ContainsFunc(h.Scopes, func(scope string) bool { return scope != "verification" && scope != "offline_access" })
	if data && slices.Contains(h.Scopes, "verification") {
		warnings = append(warnings, "scopes has verification beside scopes of the Data API: TrueLayer's documentation asks for verification alone, and says that the two APIs want different clients; use a block for each if logins fail")
	}
	if h.VerifyName != nil && !slices.Contains(h.Scopes, "verification") {
		warnings = append(warnings, "verify_name asks the Verification API, and scopes has no verification, without which TrueLayer refuses: add verification to scopes")
	}
	if asked && !slices.Contains(h.Scopes, "offline_access") && time.Duration(h.IdleTimeout) > time.Hour {
		warnings = append(warnings, "without the scope offline_access there may be no refresh token, and a session then ends with its access token, after an hour, whatever idle_timeout and max_lifetime say: add offline_access to scopes")
	}
	return warnings
}

// spellingWarnings name scopes and providers that are written wrongly.
func spellingWarnings(scopes, providers []string) (warnings []string) {
	for _, scope := range scopes {
		switch {
		case strings.Contains(scope, ","):
			warnings = append(warnings, fmt.Sprintf("scopes has a comma in %q: separate scopes by spaces", scope))
		case !slices.Contains(knownScopes, scope):
			warnings = append(warnings, fmt.Sprintf("scope %q is not in TrueLayer's documentation: check its spelling, since a link with an unknown scope is refused", scope))
		}
	}
	for _, provider := range providers {
		if strings.Contains(provider, ",") {
			warnings = append(warnings, fmt.Sprintf("providers has a comma in %q: separate providers by spaces", provider))
		}
	}
	return warnings
}

func (h *Handler) providerWarnings() (warnings []string) {
	warnings = spellingWarnings(nil, h.Providers)
	if h.ProviderID != "" && banks.Covers(h.Providers, banks.Bank{ID: h.ProviderID}) == banks.No {
		warnings = append(warnings, fmt.Sprintf("provider_id %s is not covered by providers %s: add it there, or TrueLayer refuses the link",
			h.ProviderID, strings.Join(h.Providers, " ")))
	}
	return warnings
}

// matcherWarnings name paths that no request can have.
func (h *Handler) matcherWarnings() (warnings []string) {
	for _, set := range h.match {
		for _, path := range lonePaths(set) {
			warnings = append(warnings, fmt.Sprintf("the matcher protects %s alone, and nothing below it: write %s* if what is below is meant as well", path, path))
		}
		for _, pattern := range pathsOf(set) {
			if !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "*") && !strings.HasPrefix(pattern, "{") {
				warnings = append(warnings, fmt.Sprintf("the matcher has the path %q, which no request has: begin it with a slash", pattern))
			}
		}
	}
	return warnings
}

// lonePaths returns the exact paths of a set's path matcher whose subpaths no other
// pattern of that matcher has.
func lonePaths(set caddyhttp.MatcherSet) (lone []string) {
	for _, matcher := range set {
		patterns, ok := matcher.(*caddyhttp.MatchPath)
		if !ok {
			continue
		}
		for _, path := range *patterns {
			below := slices.ContainsFunc(*patterns, func(pattern string) bool { return pattern == path+"*" || pattern == strings.TrimSuffix(path, "/")+"/*" })
			if strings.HasPrefix(path, "/") && !strings.ContainsAny(path, "*{") && !below && path != "/" {
				lone = append(lone, path)
			}
		}
	}
	return lone
}

// pathsOf returns the patterns of a set's path matchers, those inside of not as well.
func pathsOf(set caddyhttp.MatcherSet) (patterns []string) {
	for _, matcher := range set {
		switch matcher := matcher.(type) {
		case *caddyhttp.MatchPath:
			patterns = append(patterns, *matcher...)
		case *caddyhttp.MatchNot:
			for _, inner := range matcher.MatcherSets {
				patterns = append(patterns, pathsOf(inner)...)
			}
		}
	}
	return patterns
}

// guards is the matcher as the log shows it. LoadModule takes it away.
func (h *Handler) guards() string {
	matchers, err := json.Marshal(h.MatcherSetsRaw)
	if err != nil || len(h.MatcherSetsRaw) == 0 {
		return "everything"
	}
	return string(matchers)
}

// logStart writes the line that says what a block does.
func (h *Handler) logStart(guards string) {
	h.logger.Info("a truelayer block is set up",
		zap.String("redirect_uri", h.RedirectURI), zap.String("environment", h.Environment), zap.String("auth_server", h.AuthServer), zap.Strings("scopes", h.Scopes),
		zap.String("store", h.storeType()), zap.Duration("idle_timeout", time.Duration(h.IdleTimeout)), zap.Duration("max_lifetime", time.Duration(h.MaxLifetime)),
		zap.String("guards", guards))
	if page := h.site.consent; page != nil {
		for _, l := range page.pages.Languages() {
			text := page.texts[l]
			h.logger.Info("visitors consent to this text", zap.String("redirect_uri", h.RedirectURI),
				zap.String("text_sha256", text.digest), zap.String("text_language", text.Language), zap.String("text", text.String()))
		}
	}
}
