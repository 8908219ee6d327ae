package truelayer

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/readings"
)

// maxReturn is the maximum length of a return target. A longer one loses its query. If
// it is still too long, it becomes "/".
const maxReturn = 2000

// returnTarget returns target if a redirect to it stays on the block's origin however a
// browser reads it, and "/" otherwise. The target has to be a path in visible ASCII
// that cannot be read as "//host". It must not be one of the module's endpoints, which
// would cause a loop; the page about the connection, and the one on which a login in a tab
// of its own ends, lead nowhere by themselves. Characters that are not allowed in a query
// are escaped.
func (a *addresses) returnTarget(target string) string {
	if path, query, found := strings.Cut(target, "?"); found {
		target = path + "?" + escapeQuery(query)
	}
	if len(target) > maxReturn {
		target = shorten(target)
	}
	if len(target) > maxReturn || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return "/"
	}
	for i := range len(target) {
		// browsers read a backslash as a slash and drop tabs and line breaks
		if c := target[i]; c <= 0x20 || c > 0x7e || c == '\\' || c == '#' {
			return "/"
		}
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || readings.HasDots(u.Path) {
		return "/" // browsers would resolve the dots, for example to "//host"
	}
	if target == a.tabEndURL() {
		return target
	}
	if u.Path == a.callback || strings.HasPrefix(u.Path, path.Dir(a.login)+"/") && u.Path != a.connection {
		return "/"
	}
	return target
}

// cameFrom returns the page of the site that had the form of a request, and fallback if the
// browser does not say. If that page is on another host of the site, it is the one with the
// same path on the redirect URI's.
func (a *addresses) cameFrom(q *request, fallback string) string {
	from, err := url.Parse(q.Header.Get("Referer"))
	if err != nil || originOfURL(from) != a.origin && (!a.isOtherHost(q.Host) || hostname(from.Host) != hostname(q.Host)) {
		return fallback
	}
	return a.returnTarget(from.RequestURI())
}

// escapeQuery escapes the characters that are not allowed in a query (RFC 3986 section
// 3.4), such as backslashes. Browsers send some of them unescaped. Existing escapes are
// unchanged.
func escapeQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= 0x20 || c > 0x7e || strings.IndexByte("\"#<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// shorten removes the query of a return target. If there is no query it returns "/".
func shorten(target string) string {
	if short, _, found := strings.Cut(target, "?"); found {
		return short
	}
	return "/"
}
