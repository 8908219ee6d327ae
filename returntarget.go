package truelayer

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/readings"
)

// maxReturn is the longest return target that is kept. A longer one loses its
// query, or is the start of the site.
const maxReturn = 2000

// returnTarget returns target if a redirect to it stays on our own origin
// whatever a browser makes of it, and "/" otherwise: it has to be a path in visible
// ASCII that cannot be read as "//host", and none of our own endpoints, which would
// loop. What a query must not have in it is escaped.
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
		// browsers take a backslash for a slash and drop tabs and line breaks
		if c := target[i]; c <= 0x20 || c > 0x7e || c == '\\' || c == '#' {
			return "/"
		}
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || readings.HasDots(u.Path) {
		return "/" // browsers would resolve dots, to "//host" for example
	}
	if u.Path == a.callback || strings.HasPrefix(u.Path, path.Dir(a.login)+"/") {
		return "/"
	}
	return target
}

// escapeQuery escapes what cannot stand in a query (RFC 3986 section 3.4), which
// browsers send all the same, backslashes among it. Escapes that are there stay.
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

// shorten makes a return target that is too long shorter: without its query,
// and then the start of the site.
func shorten(target string) string {
	if short, _, found := strings.Cut(target, "?"); found {
		return short
	}
	return "/"
}
