package truelayer

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// isSecure reports whether a URL is https, or http to a loopback host.
func isSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && authserver.IsLoopback(u.Hostname())
}

// checkRedirectURI accepts a URL that TrueLayer's Console can register and whose path
// matches nothing else of the site.
func checkRedirectURI(s string) (*url.URL, error) {
	const form = "write it as it is registered in TrueLayer's Console, for example https://app.example.com/truelayer"
	if s == "" {
		return nil, errors.New("redirect_uri is missing: " + form)
	}
	if strings.ContainsAny(s, "{}") {
		return nil, fmt.Errorf("redirect_uri %q has a placeholder: it must be literal; for several host names use one site block each", s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("redirect_uri %q is not an absolute http(s) URL: %s", s, form)
	}
	switch {
	case !isSecure(u):
		return nil, fmt.Errorf("redirect_uri %q is plain http: use https (http is accepted for a loopback host only)", s)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, fmt.Errorf("redirect_uri %q has a user, a query or a fragment: %s", s, form)
	case strings.Trim(u.Path, "/") == "":
		return nil, fmt.Errorf("redirect_uri %q has no path of its own: the module takes that path over, so it cannot be the site's start; %s", s, form)
	case u.RawPath != "" || strings.ContainsAny(u.Path, `\;`) || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/."):
		return nil, fmt.Errorf("redirect_uri %q has a path with escapes, empty or dotted segments: use a plain one", s)
	case strings.ContainsFunc(u.Host, func(c rune) bool { return c > 0x7e }):
		return nil, fmt.Errorf("redirect_uri %q has a host with other letters than ASCII: write the form that browsers send, which begins with xn--", s)
	case len(s) > 400:
		return nil, fmt.Errorf("redirect_uri %q is longer than 400 characters: shorten its path", s)
	}
	return u, nil
}

// checkServerURL accepts the URL of a server that gets secrets: https, or a loopback host.
func checkServerURL(option, s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || strings.ContainsAny(s, "{}") {
		return fmt.Errorf("%s %q is not an absolute http(s) URL", option, s)
	}
	if !isSecure(u) {
		return fmt.Errorf("%s %q is plain http: use https (http is accepted for a loopback host only)", option, s)
	}
	if u.User != nil || u.Fragment != "" || (option == "auth_server" && (u.RawQuery != "" || u.ForceQuery)) {
		return fmt.Errorf("%s %q has a user, a query or a fragment: remove it", option, s)
	}
	return nil
}

// checkOrigin accepts an origin as browsers write it in the Origin field (RFC
// 6454 section 6.2).
func checkOrigin(s string) error {
	u, err := url.Parse(s)
	if err != nil || s != u.Scheme+"://"+u.Host || u.Hostname() == "" || strings.ContainsAny(s, "{}*") || s != strings.ToLower(s) {
		return fmt.Errorf("allow_origins %q is not an origin such as https://www.example.com: lowercase, without a path", s)
	}
	if !isSecure(u) {
		return fmt.Errorf("allow_origins %q is not https (http is accepted for a loopback host only)", s)
	}
	if (u.Scheme == "https" && u.Port() == "443") || (u.Scheme == "http" && u.Port() == "80") {
		return fmt.Errorf("allow_origins %q has its scheme's own port, which browsers leave out: leave it out", s)
	}
	return nil
}
