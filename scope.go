package truelayer

import (
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// warnOfScope says that requests of the site go past the handler, because it is
// inside of something with a matcher. Browsers send the session cookie to all of
// the host, so whatever serves those requests gets it.
func warnOfScope(ctx caddy.Context, redirectURI string, logger *zap.Logger) {
	narrow := false
	for _, module := range ctx.Modules() {
		if subroute, ok := module.(*caddyhttp.Subroute); ok {
			narrow = narrow || isNarrow(subroute.Routes, false)
		}
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil {
		narrow = narrow || isNarrow(server.Routes, true)
	}
	if narrow {
		logger.Warn("some requests of this site never meet its truelayer block, so the session cookie reaches what serves them: "+
			"move truelayer out of handle, handle_path or route, and say with its matcher what is protected",
			zap.String("redirect_uri", redirectURI))
	}
}

// isNarrow reports whether the route that is being provisioned, which is the one
// that this handler is in, leaves requests to others. Of a server's own routes
// those that match a host are whole sites.
func isNarrow(routes caddyhttp.RouteList, sites bool) bool {
	for _, route := range routes {
		if len(route.HandlersRaw) == 0 {
			continue // provisioned already
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
