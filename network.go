package truelayer

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// clientNetwork is where the client is: its address as Caddy knows it, which
// takes a proxy's word for it only from trusted_proxies. Of IPv6 the first 64
// bits count, as one customer has all of the rest.
func clientNetwork(r *http.Request) netip.Prefix {
	text, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if !ok {
		text, _, _ = net.SplitHostPort(r.RemoteAddr)
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{} // all of those share one share
	}
	address = address.Unmap().WithZone("")
	bits := 64
	if address.Is4() {
		bits = 32
	}
	network, _ := address.Prefix(bits)
	return network
}
