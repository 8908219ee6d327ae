package truelayer

import (
	"net/url"
	"path"
)

// addresses holds a block's origin and the paths that the module serves there.
type addresses struct {
	origin string // of the redirect URI
	host   string // of the redirect URI, without its port

	callback, login, logout, session, banks, consent, name, connection, renew, disconnect string // paths
}

func newAddresses(redirect *url.URL) addresses {
	return addresses{
		origin:   originOfURL(redirect),
		host:     hostname(redirect.Host),
		callback: redirect.Path,
		login:    path.Join(redirect.Path, "login"),
		logout:   path.Join(redirect.Path, "logout"),
		session:  path.Join(redirect.Path, "session"),
		banks:    path.Join(redirect.Path, "banks"),
		consent:  path.Join(redirect.Path, "consent"),
		name:     path.Join(redirect.Path, "name"),

		connection: path.Join(redirect.Path, "connection"),
		renew:      path.Join(redirect.Path, "renew"),
		disconnect: path.Join(redirect.Path, "disconnect"),
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

// The parameters of login URLs, beside return. providerParam names a bank, dialogParam asks
// for TrueLayer's own dialog, ruleParam for what a truelayer_require requires, and tabParam
// for a login in a tab of its own.
const (
	providerParam = "provider"
	dialogParam   = "dialog"
	ruleParam     = "rule"
	tabParam      = "tab"
)

// tabEnd is the value of tabParam at the address where a login in a tab of its own ends.
const tabEnd = "end"

// tabURL returns the path and query of the login URL for a tab of its own, and tabEndURL
// where such a login ends.
func (a *addresses) tabURL() string    { return a.login + "?" + tabParam + "=1" }
func (a *addresses) tabEndURL() string { return a.login + "?" + tabParam + "=" + tabEnd }

// stepUpURL returns the absolute login URL for a rule.
func (a *addresses) stepUpURL(rule, returnTo string) string {
	return a.origin + withQuery(a.login, url.Values{ruleParam: {rule}}, returnTo)
}

// bankURL returns the path and query of the login URL that leads to a bank.
func (a *addresses) bankURL(id, returnTo string) string {
	return withQuery(a.login, url.Values{providerParam: {id}}, returnTo)
}

// dialogURL returns the path and query of the login URL that leads to TrueLayer's dialog.
func (a *addresses) dialogURL(returnTo string) string {
	return withQuery(a.login, url.Values{dialogParam: {"1"}}, returnTo)
}

// renewsParam is the parameter of the consent page's address for who renews a connection. Its
// value is sealed, see consentPage.renews.
const renewsParam = "renew"

// consentURL returns the path and query of the page on which a visitor consents to what a
// bank shares. Who is connected sees it only to renew the connection.
func (a *addresses) consentURL(id, returnTo, renews string) string {
	query := url.Values{providerParam: {id}}
	if renews != "" {
		query.Set(renewsParam, renews)
	}
	return withQuery(a.consent, query, returnTo)
}

// nameURL returns the path and query of the page on which a visitor says their name.
func (a *addresses) nameURL(returnTo string) string {
	return withQuery(a.name, make(url.Values), returnTo)
}

// declineParam is the parameter of the consent page's address for who does not consent.
const declineParam = "decline"

// declineURL returns the path and query to which who does not consent is led.
func (a *addresses) declineURL(returnTo string) string {
	return withQuery(a.consent, url.Values{declineParam: {"1"}}, returnTo)
}

// logoURL returns the path and query of a bank's logo.
func (a *addresses) logoURL(id string) string { return a.banks + "?logo=" + id }

// banksURL returns the path and query of the page with the banks of a country, or of all
// if country is "", that match a search.
func (a *addresses) banksURL(returnTo, country, search string) string {
	query := make(url.Values)
	if country != "" {
		query.Set("country", country)
	}
	if search != "" {
		query.Set("q", search)
	}
	return withQuery(a.banks, query, returnTo)
}

func withQuery(path string, query url.Values, returnTo string) string {
	if returnTo != "/" {
		query.Set("return", returnTo)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// isOtherHost reports whether host differs from the redirect URI's, for example www
// and the apex. A login cookie set there would not be sent to the redirect URI.
func (a *addresses) isOtherHost(host string) bool { return hostname(host) != a.host }
