package truelayer

import (
	"net/url"
	"path"
)

// addresses holds a block's origin and the paths that the module serves there.
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

// loginURL returns the absolute login URL that leads back to returnTo. It is on the
// redirect URI's host, where the login's cookie has to be set.
func (a *addresses) loginURL(returnTo string) string {
	u := a.origin + a.login
	if returnTo != "/" {
		u += "?return=" + url.QueryEscape(returnTo)
	}
	return u
}

// isOtherHost reports whether host differs from the redirect URI's, for example www
// and the apex. A login cookie set there would not be sent to the redirect URI.
func (a *addresses) isOtherHost(host string) bool { return hostname(host) != a.host }
