package truelayer

import (
	"net/url"
	"path"
)

// addresses are a block's own: its origin, and the paths on it that belong to the
// module.
type addresses struct {
	origin string // of the redirect URI
	host   string // of the redirect URI, without its port

	callback, login, logout, session string // paths
}

func newAddresses(redirect *url.URL) addresses {
	return addresses{
		origin:   originOfURL(redirect),
		host:     hostname(redirect.Host),
		callback: redirect.Path,
		login:    path.Join(redirect.Path, "login"),
		logout:   path.Join(redirect.Path, "logout"),
		session:  path.Join(redirect.Path, "session"),
	}
}

// loginURL is the absolute login URL that comes back to returnTo. It is on the
// redirect URI's host, where the login's cookie has to be set.
func (a *addresses) loginURL(returnTo string) string {
	u := a.origin + a.login
	if returnTo != "/" {
		u += "?return=" + url.QueryEscape(returnTo)
	}
	return u
}

// isElsewhere reports whether a visitor is on another host than the redirect
// URI's, www beside the apex for example, where a login's cookie would be set that
// does not come to the redirect URI.
func (a *addresses) isElsewhere(host string) bool { return hostname(host) != a.host }
