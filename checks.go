package truelayer

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

// environments are TrueLayer's, with the providers that its current examples
// use for each.
var environments = map[string]struct {
	authServer string
	api        string
	providers  []string
}{
	"live":    {"https://auth.truelayer.com", "https://api.truelayer.com", []string{"uk-ob-all", "uk-oauth-all"}},
	"sandbox": {"https://auth.truelayer-sandbox.com", "https://api.truelayer-sandbox.com", []string{"uk-cs-mock"}},
}

// reservedParams are the parameters of the auth link that auth_param may not
// set: ours, the ones that would move the answer to another place
// (response_mode), and the ones that would replace all others (RFC 9101).
var reservedParams = []string{
	"response_type", "client_id", "redirect_uri", "scope", "providers", "provider_id", "state",
	"code_challenge", "code_challenge_method", "response_mode", "request", "request_uri",
}

func (h *Handler) checkRedirectURI() error {
	_, err := checkRedirectURI(h.RedirectURI)
	return err
}

// checkIssuer checks no more than that it can be one: it is only compared.
func (h *Handler) checkIssuer() error {
	s := h.Issuer
	if u, err := url.Parse(s); err != nil || u.Host == "" || strings.ContainsAny(s, "{} ") {
		return fmt.Errorf("issuer %q is not an absolute URL, as it stands in the iss of tokens", s)
	}
	return nil
}

func (h *Handler) checkAllowOrigins() error {
	for _, origin := range h.AllowOrigins {
		if err := checkOrigin(origin); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) checkEnvironment() error {
	if _, ok := environments[h.Environment]; !ok {
		return fmt.Errorf("environment %q is unknown: use live or sandbox", h.Environment)
	}
	return nil
}

// checkWords checks values that the auth link joins by spaces. There is no
// list of known scopes or providers: TrueLayer adds to them.
func checkWords(option string, words []string) error {
	for i, word := range words {
		for j := range len(word) {
			// the scope-token of RFC 6749 section 3.3
			if c := word[j]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '{' || c == '}' {
				return fmt.Errorf("%s: %q is not a valid value: separate values by spaces, without quotes or placeholders", option, word)
			}
		}
		if word == "" {
			return fmt.Errorf("%s has an empty value: remove it", option)
		}
		if slices.Contains(words[:i], word) {
			return fmt.Errorf("%s: %q is given twice: keep one", option, word)
		}
	}
	return nil
}

func (h *Handler) checkAuthParams() error {
	var failed error
	for name := range h.AuthParam {
		failed = errors.Join(failed, checkAuthParam(name))
	}
	return failed
}

func checkAuthParam(name string) error {
	if name == "" || strings.ContainsAny(name, "{}&= ") {
		return fmt.Errorf("auth_param %q is not a parameter name", name)
	}
	if slices.Contains(reservedParams, strings.ToLower(name)) {
		return fmt.Errorf("auth_param %s is set by the module: use the option of that purpose, or remove it", name)
	}
	return nil
}

func (h *Handler) checkCookieName() error {
	s := h.CookieName
	if strings.HasPrefix(s, "__") {
		return fmt.Errorf("cookie_name %q: leave the prefix out, the module adds __Host- itself for an https redirect_uri", s)
	}
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c > 0x7e || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return fmt.Errorf("cookie_name %q has a character that a cookie's name cannot have", s)
		}
	}
	if strings.HasSuffix(s, bankSuffix) || strings.HasSuffix(s, formSuffix) || strings.Contains(s, loginInfix) {
		return fmt.Errorf("cookie_name %q ends in %q or %q or contains %q, as the names of the module's further cookies do: choose another", s, bankSuffix, formSuffix, loginInfix)
	}
	if len(s) > 64 {
		return fmt.Errorf("cookie_name %q is longer than 64 characters", s)
	}
	return nil
}

func (h *Handler) checkLogoutRedirect() error {
	s := h.LogoutRedirect
	if strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") && !strings.ContainsAny(s, "\\{} \t") {
		return nil
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && !strings.ContainsAny(s, "{}") {
		return nil
	}
	return fmt.Errorf("logout_redirect %q is neither a path such as /bye nor an absolute http(s) URL", s)
}

// maxCredential is far beyond any real client id or secret; it bounds what a
// record's header holds.
const maxCredential = 1 << 10

// expand replaces the global placeholders in a client id or secret, and checks the
// result. Its errors repeat nothing of the value but placeholders.
func expand(option, value string) (string, error) {
	if value == "" {
		return "", fmt.Errorf("%s is missing: set it to the value from TrueLayer's Console", option)
	}
	expanded, err := block.Expand(option, value)
	if err != nil {
		return "", err
	}
	if len(expanded) > maxCredential {
		return "", fmt.Errorf("%s is longer than %d characters: is it the right value?", option, maxCredential)
	}
	for i := range len(expanded) {
		if expanded[i] <= 0x20 || expanded[i] > 0x7e {
			return "", fmt.Errorf("%s has a space, a line break or another character that cannot be part of it", option)
		}
	}
	return expanded, nil
}

// checkVerifyAPI refuses a guess at the Verification API beside another auth server: it gets
// the access tokens.
func (h *Handler) checkVerifyAPI() error {
	if h.VerifyName != nil && h.VerifyName.API == "" && h.AuthServer != "" && h.AuthServer != environments[cmp.Or(h.Environment, "live")].authServer {
		return errors.New("verify_name: api is missing: with auth_server, say which Verification API gets the access tokens, such as https://api.truelayer.com")
	}
	return nil
}
