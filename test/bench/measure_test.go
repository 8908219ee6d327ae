package bench

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// handler is the module's handler, provisioned, with nothing around it.
type handler struct {
	*truelayer.Handler
	provider *Provider
	server   *caddyhttp.Server
}

// newHandler provisions a handler that keeps its sessions in a store and
// protects what the matcher says.
func newHandler(b *testing.B, store json.RawMessage, matcher string) *handler {
	b.Helper()
	provider, err := StartProvider()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(provider.Close)
	module, err := newContext(b).LoadModuleByID("http.handlers.truelayer", HandlerConfig(provider.URL, store, matcher))
	if err != nil {
		b.Fatal(err)
	}
	return &handler{Handler: module.(*truelayer.Handler), provider: provider, server: new(caddyhttp.Server)}
}

// newContext is what Caddy provisions a configuration's modules in.
func newContext(b *testing.B) caddy.Context {
	b.Helper()
	configured, err := caddy.ProvisionContext(&caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true},
		// its lines would stand between those of the results
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(configured)
	b.Cleanup(cancel)
	return ctx
}

// signIn signs a visitor in and returns its cookie.
func (h *handler) signIn(b *testing.B) string {
	b.Helper()
	cookie, err := Login(InProcess(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, h.server), h.next()); err != nil {
			b.Error(err)
		}
	})), h.provider.Grant)
	if err != nil {
		b.Fatal(err)
	}
	return cookie
}

// next stands for the rest of the site, which costs nothing.
func (h *handler) next() caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
}

// prepared is a request as Caddy hands it to its handlers.
type prepared struct {
	request *http.Request
	answer  *answer
}

// prepare reads a request and does with it what Caddy does before its first
// handler.
func (h *handler) prepare(text string) (prepared, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return prepared{}, err
	}
	r.RemoteAddr = "127.0.0.1:50000"
	w := &answer{header: http.Header{"Server": {"Caddy"}}}
	return prepared{caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, h.server), w}, nil
}

// answer is a response that nobody reads.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }

// measure measures what the handler alone does with requests. Caddy's own work
// on a request happens while the clock stands still, a few requests at a time,
// as only so many of them would be near each other in the processor's caches.
func (h *handler) measure(b *testing.B, status int, requests []string) {
	b.Helper()
	const batch = 64
	ready := make([]prepared, 0, batch)
	next, turn := h.next(), 0
	b.ReportAllocs()
	for b.Loop() {
		if len(ready) == 0 {
			b.StopTimer()
			for range batch {
				p, err := h.prepare(requests[turn%len(requests)])
				if err != nil {
					b.Fatal(err)
				}
				ready, turn = append(ready, p), turn+1
			}
			b.StartTimer()
		}
		p := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		if err := h.ServeHTTP(p.answer, p.request, next); err != nil {
			b.Fatal(err)
		}
		if p.answer.status != status {
			b.Fatalf("answered with status %d instead of %d", p.answer.status, status)
		}
	}
}
