package truelayer

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// clientNetwork returns the network of the client's address. The address is the one that
// Caddy determines, which believes a proxy only if trusted_proxies names it. For IPv6
// the network is the first 64 bits, because one customer usually has all of the rest.
func clientNetwork(r *http.Request) netip.Prefix {
	address, err := netip.ParseAddr(clientIP(r))
	if err != nil {
		return netip.Prefix{} // clients with an unknown address count as one network
	}
	address = address.Unmap().WithZone("")
	bits := 64
	if address.Is4() {
		bits = 32
	}
	network, _ := address.Prefix(bits)
	return network
}

// clientIP returns the client's address as Caddy knows it.
func clientIP(r *http.Request) string {
	if text, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		return text
	}
	text, _, _ := net.SplitHostPort(r.RemoteAddr)
	return text
}
