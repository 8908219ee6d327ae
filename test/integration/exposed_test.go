package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(panicking{})
	httpcaddyfile.RegisterHandlerDirective("panicking", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return panicking{}, nil
	})
}

// panicking is a handler with a bug.
type panicking struct{}

func (panicking) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.panicking", New: func() caddy.Module { return panicking{} }}
}

func (panicking) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error {
	panic("a handler's bug")
}

// keep writes what was seen where every test's end looks for secrets.
func (w *world) keep(t *testing.T, name string, seen []byte) {
	t.Helper()
	if err := os.WriteFile(w.Data+"/"+name, seen, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAdminEndpoint: whoever reaches Caddy's admin endpoint reads the
// configuration, with the client secret's placeholder, the metrics, and what
// the process is doing while a code is under way; none of it is a secret.
func TestAdminEndpoint(t *testing.T) {
	withAdmin := strings.Replace(plain, "admin off", "admin localhost:{{.Port2}}\n\tmetrics", 1)
	w := start(t, withAdmin, func(w *world) { w.Options = "store storage" })
	b := w.signedIn()
	equal(t, "page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	visitor := w.browser()
	answer := w.leaveDuringTokenRequest(visitor, w.approve(visitor, w.Site+"/page"))
	defer answer()
	for i, test := range []struct{ path, has string }{
		{"/config/", `"client_secret":"{env.TEST_CLIENT_SECRET}"`},
		{"/metrics", "caddy_http_requests_total"},
		{"/reverse_proxy/upstreams", w.App},
		{"/debug/vars", "memstats"},
		{"/debug/pprof/", "goroutine"},
		{"/debug/pprof/cmdline", ""},
		{"/debug/pprof/goroutine?debug=1", "session.(*Manager).exchange"},
		{"/debug/pprof/goroutine?debug=2", "session.(*Manager).exchange"},
		{"/debug/pprof/heap?debug=1", "heap profile"},
		{"/debug/pprof/allocs?debug=1", "heap profile"},
	} {
		a := w.browser().do(http.MethodGet, fmt.Sprintf("http://localhost:%d%s", w.Port2, test.path))
		if a.StatusCode != http.StatusOK || !strings.Contains(a.body, test.has) {
			t.Errorf("%s: %d without %q", test.path, a.StatusCode, test.has)
		}
		w.keep(t, fmt.Sprintf("admin-%d", i), []byte(a.body))
	}
}

// TestBrokenRequests: an application that dies in the middle of its answer, and
// a handler that panics, leave errors and stacks in the log. The request had an
// access token by then.
func TestBrokenRequests(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Global = "order panicking before reverse_proxy"
		w.After = "panicking /panic"
	})
	w.app.answer(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "half of")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	b := w.signedIn()
	for path, line := range map[string]string{
		"/half":  "aborting with incomplete response",
		"/panic": "a handler's bug",
	} {
		if a, err := b.try(t.Context(), http.MethodGet, w.Site+path, asNavigation...); err == nil {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
		waitUntil(t, path+" in the log", func() bool { return strings.Contains(w.log.text(t), line) })
	}
	if n, got := w.app.requests(); n == 0 || !strings.HasPrefix(got.Header.Get("Authorization"), "Bearer ey") {
		t.Error("the application was not sent a token")
	}
	if log := w.log.text(t); !strings.Contains(log, "truelayer.(*guard).forward") {
		t.Error("no stack with the guard in it")
	}
}
