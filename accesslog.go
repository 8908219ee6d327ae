package truelayer

import (
	"net/http"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// accessLogWarning warns, once, that codes are being written into an access log.
// Whether the filter is on the right log cannot be seen from here, only
// whether there is one.
type accessLogWarning struct {
	logger *zap.Logger
	given  atomic.Bool
}

// check looks whether the server of a request has access logs. The first request
// tells: a server's logs are not known yet when its handlers are provisioned.
func (a *accessLogWarning) check(r *http.Request) {
	if a.given.Load() || a.given.Swap(true) {
		return
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Logs == nil || logFilters.Load() > 0 {
		return
	}
	a.logger.Warn("accesses are logged, and the codes of logins with them: " +
		"add `request>uri truelayer` and `resp_headers>Location truelayer` to the log's `format filter`")
}
