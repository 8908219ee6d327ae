package truelayer

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// origins are those whose pages may use a visitor's session.
type origins struct {
	own     string
	friends []string // those that allow_origins names
	check   *http.CrossOriginProtection
}

func newOrigins(own string, friends []string) (*origins, error) {
	o := &origins{own: own, friends: friends, check: http.NewCrossOriginProtection()}
	for _, origin := range append([]string{own}, friends...) {
		if err := o.check.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("origin %s: %w", origin, err)
		}
	}
	return o, nil
}

var errForeignOrigin = errors.New("the request comes from a page of another origin; allow_origins names those that may send it")

// admit refuses what a page of another origin sends with a visitor's
// session: whatever may change something, and everything that opens a
// connection to speak on. SameSite=Lax does not keep the session cookie off
// requests from sibling subdomains, nor off WebSockets from there.
//
// Which page it is the browser says in Sec-Fetch-Site and Origin, which no
// script can write. A request with neither is not a browser's of this decade,
// or none at all, and no other site has made it.
func (o *origins) admit(r *http.Request) error {
	opens := opensConnection(r)
	if isSafe(r.Method) && !opens {
		return nil
	}
	if opens { // a GET only in name
		r = &http.Request{Method: http.MethodPost, Host: r.Host, URL: r.URL, Header: r.Header}
	}
	if err := o.check.Check(r); err != nil {
		return errForeignOrigin
	}
	// without Sec-Fetch-Site it compares the origin with Host, which balancers
	// rewrite and whose scheme it does not know
	if origin := originOf(r); origin != "" && r.Header.Get("Sec-Fetch-Site") == "" && origin != o.own && !slices.Contains(o.friends, origin) {
		return errForeignOrigin
	}
	return nil
}

// isFriend reports whether the request is from a page of an origin that
// allow_origins names.
func (o *origins) isFriend(r *http.Request) bool { return slices.Contains(o.friends, originOf(r)) }

// isSafe tells the methods that change nothing (RFC 9110 section 9.2.1) and
// whose answers a page of another origin cannot read.
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// opensConnection tells an upgrade (RFC 9110 section 7.8) and a CONNECT, which
// is how HTTP/2 and HTTP/3 open WebSockets (RFC 8441).
func opensConnection(r *http.Request) bool {
	return r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0
}

// mayBeForwarded reports whether a request's method may carry an access token
// upstream. The answer to TRACE repeats the request (RFC 9110 section 9.3.8), the
// token with it, and so does TRACK, which some servers know. A CONNECT that is not
// an extended one (RFC 8441 section 4) asks for a tunnel.
func mayBeForwarded(r *http.Request) bool {
	switch strings.ToUpper(r.Method) {
	case http.MethodTrace, "TRACK":
		return false
	case http.MethodConnect:
		return len(r.Header[":protocol"]) > 0 || r.ProtoMajor == 3 && !strings.HasPrefix(r.Proto, "HTTP/")
	}
	return true
}

// originOf is the request's origin, "" if it names none. Browsers name one; who
// names several has none.
func originOf(r *http.Request) string {
	switch lines := r.Header["Origin"]; len(lines) {
	case 0:
		return ""
	case 1:
		return lines[0]
	}
	return "null"
}

// originOfURL is a URL's origin as browsers write it (RFC 6454 section 6.2): in
// lower case, without the scheme's own port.
func originOfURL(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") { // an IPv6 address
		host = "[" + host + "]"
	}
	port, _ := strconv.Atoi(u.Port())
	if port != 0 && port != map[string]int{"https": 443, "http": 80}[scheme] {
		host += ":" + strconv.Itoa(port)
	}
	return scheme + "://" + host
}

// hostname is the host in a Host field or a URL, in lower case and without its
// port: what browsers compare when they send cookies.
func hostname(host string) string {
	return strings.ToLower((&url.URL{Host: host}).Hostname())
}
