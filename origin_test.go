package truelayer

import (
	"net/url"
	"slices"
	"testing"
)

// TestOriginOfURL: an origin is written as browsers do (RFC 6454 section 6.2).
func TestOriginOfURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://app.example.com/truelayer":      "https://app.example.com",
		"https://app.example.com:443/truelayer":  "https://app.example.com",
		"https://app.example.com:0443/truelayer": "https://app.example.com",
		"https://app.example.com:/truelayer":     "https://app.example.com",
		"HTTPS://App.Example.COM:443/truelayer":  "https://app.example.com",
		"https://app.example.com:8443/truelayer": "https://app.example.com:8443",
		"https://app.example.com:80/truelayer":   "https://app.example.com:80",
		"http://localhost:80/truelayer":          "http://localhost",
		"http://localhost:443/truelayer":         "http://localhost:443",
		"http://[::1]:80/truelayer":              "http://[::1]",
		"http://[::1]:8080/truelayer":            "http://[::1]:8080",
		"https://[2001:DB8::1]:443/truelayer":    "https://[2001:db8::1]",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := originOfURL(u); got != want {
			t.Errorf("%s is of %s, want %s", address, got, want)
		}
	}
}

// FuzzOrigin: with a session, what may change something or opens a connection
// comes from our own pages, from those of a friend, or from no page at all.
func FuzzOrigin(f *testing.F) {
	const friend = "https://www.example.com"
	o, err := newOrigins(testOrigin, []string{friend})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("POST", testOrigin, "same-origin", "", "")
	f.Add("POST", friend, "same-site", "", "")
	f.Add("GET", "https://evil.example", "cross-site", "websocket", "")
	f.Add("OPTIONS", friend, "cross-site", "", "PUT")
	f.Add("DELETE", "null", "", "", "")
	f.Add("PUT", "https://APP.example.com", "", "", "")
	f.Add("CONNECT", "", "none", "", "")
	f.Add("CONNECT", "https://evil.example", "", "", "")
	f.Add("CONNECT", "https://evil.example", "same-site", "", "")
	f.Add("POST", "http://app.example.com", "", "", "") // our host over another scheme
	f.Add("OPTIONS", "https://evil.example", "cross-site", "", "PUT")
	f.Add("get", "https://app.example.com:443", "", "", "")
	f.Fuzz(func(t *testing.T, method, origin, site, upgrade, asks string) {
		r := requestWith(method, map[string]string{
			"Origin": origin, "Sec-Fetch-Site": site, "Upgrade": upgrade, "Access-Control-Request-Method": asks,
		})
		reads := upgrade == "" && slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method)
		ours := site == "same-origin" || site == "none" || slices.Contains([]string{testOrigin, friend}, origin)
		nobody := origin == "" && site == ""
		if err := o.check(r); err == nil && !reads && !ours && !nobody {
			t.Errorf("%s from %q, %q, was let through", method, origin, site)
		}
		if p := o.readPreflight(r); p != nil && (method != "OPTIONS" || origin != friend || asks == "") {
			t.Errorf("%s from %q is told that it may ask", method, origin)
		}
	})
}
