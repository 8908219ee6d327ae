package truelayer

import (
	"net/http"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// accessLogWarning warns once if authorization codes are written to an access log.
// It can see whether the process has a log filter, but not whether the filter is on
// the right log.
type accessLogWarning struct {
	logger  *zap.Logger
	checked atomic.Bool
}

// check warns if the server of r has access logs and no log filter is configured. It
// looks at the first request only, because a server's logs are not known yet when its
// handlers are provisioned.
func (a *accessLogWarning) check(r *http.Request) {
	if a.checked.Load() || a.checked.Swap(true) {
		return
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !hasAccessLogs(server) || logFilters.Load() > 0 {
		return
	}
	a.logger.Warn("the access log contains the codes of logins: " +
		"add `request>uri truelayer` and `resp_headers>Location truelayer` to the log's `format filter`")
}

// hasAccessLogs reports whether requests to a server are logged. It is known once the
// server runs.
func hasAccessLogs(server *caddyhttp.Server) bool { return server != nil && server.Logs != nil }
