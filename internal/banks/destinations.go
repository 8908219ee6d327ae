package banks

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// assets is the host of the logos in TrueLayer's list.
const assets = "truelayer-provider-assets.s3.amazonaws.com"

// maxAddress is the longest address of a logo.
const maxAddress = 2048

// destinations are the hosts from which logos are fetched: TrueLayer's own, and the auth
// server's.
type destinations struct {
	scheme string // of the auth server
	host   string // of the auth server, with its port
	// loopback says that the auth server is on this machine, such as a simulator. Only
	// then logos come over plain http and from an address of this machine, and only from
	// the auth server's own host and port.
	loopback bool
}

func newDestinations(base string) *destinations {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return &destinations{}
	}
	return &destinations{scheme: u.Scheme, host: hostPort(u), loopback: authserver.IsLoopback(u.Hostname())}
}

// permits reports whether a logo may be fetched from an address.
func (d *destinations) permits(address string) bool {
	if address == "" || len(address) > maxAddress {
		return false
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Opaque != "" || u.Hostname() == "" {
		return false
	}
	if u.Scheme == d.scheme && hostPort(u) == d.host {
		return u.Scheme == "https" || u.Scheme == "http" && d.loopback
	}
	host := strings.ToLower(u.Hostname())
	return u.Scheme == "https" && (u.Port() == "" || u.Port() == "443") &&
		(host == assets || strings.HasSuffix(host, ".truelayer.com") || strings.HasSuffix(host, ".truelayer-sandbox.com")) &&
		!strings.ContainsFunc(host, func(r rune) bool { return !isIDRune(r) && r != '.' })
}

// isOwn reports whether a host with its port, as it is dialed, is that of an auth server
// on this machine.
func (d *destinations) isOwn(hostPort string) bool {
	return d.loopback && strings.EqualFold(hostPort, d.host)
}

// hostPort returns a URL's host with its port, as it is dialed.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// special are the addresses that are no host of the internet, beside those that package
// netip knows (RFC 6890 and the registries that it names).
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

var (
	internet  = netip.MustParsePrefix("2000::/3")
	translate = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: an IPv4 address in the last 32 bits
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// isPublic reports whether an address is one of the internet, and not of a private
// network, this machine or its link.
func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap()
	if addr.Zone() != "" {
		return false
	}
	if translate.Contains(addr) {
		bytes := addr.As16()
		return isPublic(netip.AddrFrom4([4]byte(bytes[12:])))
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Is6() && !internet.Contains(addr) {
		return false
	}
	for _, prefix := range special {
		if prefix.Contains(addr) {
			return false
		}
	}
	return true
}
