package truelayer

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(new(adminAPI))
}

// adminRoutes are what Caddy's admin endpoint answers below /truelayer/. The patterns
// are those of http.ServeMux, each with a method.
var adminRoutes = []adminRoute{
	{"GET /truelayer/sessions", serveSessions},
	{"GET /truelayer/sessions/count", serveSessionCount},
	{"POST /truelayer/sessions/revoke", serveRevoke},
	{"DELETE /truelayer/sessions/{id}", serveRevokeOne},
	{"GET /truelayer/health/live", serveLive},
	{"GET /truelayer/health/ready", serveReady},
	{"POST /truelayer/doctor", serveDoctor},
	{"POST /truelayer/auth-links", serveAuthLinks},
}

type adminRoute struct {
	pattern string
	serve   adminFunc
}

// adminFunc answers a request, or returns a caddy.APIError.
type adminFunc func(http.ResponseWriter, *http.Request) error

// adminAPI is the module's part of Caddy's admin endpoint. Caddy makes one for each
// configuration, before it provisions handlers.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.truelayer",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements caddy.AdminRouter.
func (*adminAPI) Routes() []caddy.AdminRoute {
	mux := http.NewServeMux()
	for _, route := range adminRoutes {
		mux.Handle(route.pattern, route.serve)
	}
	return []caddy.AdminRoute{{
		Pattern: "/truelayer/",
		Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "no-store")
			call := &adminCall{ResponseWriter: w}
			mux.ServeHTTP(call, r)
			return call.failed(r)
		}),
	}}
}

// ServeHTTP implements http.Handler for the mux, whose handlers return no error.
func (serve adminFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := w.(*adminCall)
	call.routed = true
	call.err = serve(call.ResponseWriter, r)
}

// adminCall is a call of the admin endpoint. The mux itself answers in plain text if it
// has no route. Such an answer is kept back, since Caddy's admin endpoint speaks JSON.
type adminCall struct {
	http.ResponseWriter
	routed bool
	status int // of the mux's own answer
	err    error
}

// WriteHeader implements http.ResponseWriter.
func (c *adminCall) WriteHeader(status int) { c.status = status }

// Write implements http.ResponseWriter.
func (c *adminCall) Write(b []byte) (int, error) { return len(b), nil }

// failed returns why the call had no answer.
func (c *adminCall) failed(r *http.Request) error {
	switch {
	case c.routed:
		return c.err
	case c.status == http.StatusMethodNotAllowed:
		return caddy.APIError{HTTPStatus: c.status, Err: fmt.Errorf("%s does not take the method %s: use %s", r.URL.Path, r.Method, c.Header().Get("Allow"))}
	}
	return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("the admin endpoint has no %s: docs/operating.md lists what there is", r.URL.Path)}
}

// Interface guards
var _ caddy.AdminRouter = (*adminAPI)(nil)
