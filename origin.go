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

// origins holds the origins whose pages may use a visitor's session.
type origins struct {
	own         string
	allowed     []string // from allow_origins
	crossOrigin *http.CrossOriginProtection
}

func newOrigins(own string, allowed []string) (*origins, error) {
	o := &origins{own: own, allowed: allowed, crossOrigin: http.NewCrossOriginProtection()}
	for _, origin := range append([]string{own}, allowed...) {
		if err := o.crossOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("origin %s: %w", origin, err)
		}
	}
	return o, nil
}

var errForeignOrigin = errors.New("the request comes from a page of another origin; if that page may use sessions, add its origin to allow_origins")

// check refuses requests that a page of another origin sends with a visitor's session if
// they may change something or open a connection such as a WebSocket. SameSite=Lax is
// not enough, because browsers send the session cookie with requests and WebSockets
// from sibling subdomains.
//
// The browser identifies the page in Sec-Fetch-Site and Origin, which no script can
// set. A request with neither does not come from a current browser, so no other site
// can have caused it.
func (o *origins) check(r *http.Request) error {
	opens := opensConnection(r)
	if isSafe(r.Method) && !opens {
		return nil
	}
	if opens { // Check lets every GET through
		r = &http.Request{Method: http.MethodPost, Host: r.Host, URL: r.URL, Header: r.Header}
	}
	if err := o.crossOrigin.Check(r); err != nil {
		return errForeignOrigin
	}
	// without Sec-Fetch-Site, Check compares Origin with Host, which load balancers
	// rewrite and which does not tell the scheme
	if origin := originOf(r); origin != "" && r.Header.Get("Sec-Fetch-Site") == "" && origin != o.own && !slices.Contains(o.allowed, origin) {
		return errForeignOrigin
	}
	return nil
}

// isOwn reports whether a browser says that the request comes from a page of the redirect
// URI's own origin. Browsers say so of every POST.
func (o *origins) isOwn(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return originOf(r) == o.own && (site == "" || site == "same-origin")
}

// isAllowed reports whether the request comes from a page of an origin in
// allow_origins.
func (o *origins) isAllowed(r *http.Request) bool { return slices.Contains(o.allowed, originOf(r)) }

// isSafe reports whether a method changes nothing (RFC 9110 section 9.2.1). A page of
// another origin cannot read the response to such a request.
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// opensConnection reports whether the request is an upgrade (RFC 9110 section 7.8) or a
// CONNECT, with which HTTP/2 and HTTP/3 open WebSockets (RFC 8441).
func opensConnection(r *http.Request) bool {
	return r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0
}

// mayBeForwarded reports whether a request with this method may carry an access token
// upstream. The response to TRACE repeats the request (RFC 9110 section 9.3.8) and
// with it the token; some servers know the same method as TRACK. A CONNECT that is not
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

// originOf returns the request's origin, "" if it has none. It returns "null" for a
// request with several, which no browser sends.
func originOf(r *http.Request) string {
	switch lines := r.Header["Origin"]; len(lines) {
	case 0:
		return ""
	case 1:
		return lines[0]
	}
	return "null"
}

// originOfURL returns a URL's origin as browsers write it (RFC 6454 section 6.2): in
// lower case, without the scheme's default port.
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

// hostname returns the host in a Host field or a URL, in lower case and without its
// port. Browsers compare this part when they decide whether to send a cookie.
func hostname(host string) string {
	return strings.ToLower((&url.URL{Host: host}).Hostname())
}
