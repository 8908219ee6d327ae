package truelayer

import (
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// warnOfBypass warns if some requests to the site bypass the handler because it is
// inside a route with a matcher. Browsers send the session cookie to the whole host, so
// whatever serves those requests gets it.
func warnOfBypass(ctx caddy.Context, redirectURI string, logger *zap.Logger) {
	bypassed := false
	for _, routes := range subroutesOf(ctx) {
		bypassed = bypassed || canBypass(routes, false)
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil {
		bypassed = bypassed || canBypass(server.Routes, true)
	}
	if bypassed {
		logger.Warn("some requests to this site bypass its truelayer block, so the session cookie reaches whatever serves them: "+
			"move truelayer out of handle, handle_path or route, and use its matcher to choose what is protected",
			zap.String("redirect_uri", redirectURI))
	}
}

// canBypass reports whether requests can bypass the route that is being provisioned,
// which is the one that contains this handler. If the routes are a server's own, a
// route that matches only a host is a whole site, which nothing bypasses.
func canBypass(routes caddyhttp.RouteList, sites bool) bool {
	for _, route := range routes {
		if !isBeingProvisioned(route) {
			continue
		}
		if route.Group != "" {
			return true
		}
		for _, set := range route.MatcherSets {
			for _, matcher := range set {
				if _, isHost := matcher.(*caddyhttp.MatchHost); !sites || !isHost {
					return true
				}
			}
		}
		return false
	}
	return false
}
