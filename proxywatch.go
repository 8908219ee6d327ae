package truelayer

import (
	"net"
	"net/netip"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// proxyWatch warns, once, of a proxy in front whose word on its clients does not count.
type proxyWatch struct {
	logger *zap.Logger
	warned atomic.Bool
}

// check looks at a login's request. Anybody can send the field of a proxy, so only
// peers from a private network are taken for one.
func (p *proxyWatch) check(q *request) {
	if len(q.Header["X-Forwarded-For"]) == 0 || p.warned.Load() {
		return
	}
	if trusted, _ := caddyhttp.GetVar(q.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		return
	}
	host, _, _ := net.SplitHostPort(q.RemoteAddr)
	peer, err := netip.ParseAddr(host)
	if err != nil || !peer.IsPrivate() && !peer.IsLoopback() || p.warned.Swap(true) {
		return
	}
	p.logger.Warn("requests come through a proxy that trusted_proxies does not name, so that all visitors count as one network: "+
		"set trusted_proxies in the global option servers", zap.String("proxy", peer.String()))
}
