package authserver

import (
	"net/netip"
	"strings"
)

// IsLoopback reports whether a host is this machine by its name (RFC 6761 section 6.3) or
// its address. Plain http is accepted for such hosts only.
func IsLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	address, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && address.Unmap().IsLoopback()
}
