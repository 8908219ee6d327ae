package truelayer

import (
	"net/url"
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
