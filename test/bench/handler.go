package bench

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// Handler is the module's handler, provisioned, with nothing around it.
type Handler struct {
	*truelayer.Handler
	provider *Provider
	server   *caddyhttp.Server
	cancel   context.CancelFunc
}

// NewHandler provisions a handler that protects what the matcher says.
func NewHandler(matcher string) (*Handler, error) {
	provider, err := StartProvider()
	if err != nil {
		return nil, err
	}
	configured, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		provider.Close()
		return nil, err
	}
	ctx, cancel := caddy.NewContext(configured)
	h := &Handler{provider: provider, server: new(caddyhttp.Server), cancel: cancel}
	module, err := ctx.LoadModuleByID("http.handlers.truelayer", HandlerConfig(provider.URL, MemoryStore(100_000), matcher))
	if err != nil {
		h.Close()
		return nil, err
	}
	h.Handler = module.(*truelayer.Handler)
	return h, nil
}

// Close cleans the handler up and ends its provider.
func (h *Handler) Close() {
	h.cancel()
	h.provider.Close()
}

// Login signs a visitor in and returns its cookie.
func (h *Handler) Login() (cookie string, err error) {
	return Login(InProcess(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err = h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, h.server), h.next())
	})), h.provider.Grant)
}

// next stands for the rest of the site, which costs nothing.
func (h *Handler) next() caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
}

// prepared is a request as Caddy hands it to its handlers.
type prepared struct {
	request *http.Request
	answer  *answer
}

// prepare reads a request and does with it what Caddy does before its first
// handler.
func (h *Handler) prepare(text string) (prepared, error) {
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

// Measure measures what the handler alone does with requests. Caddy's own work
// on a request happens while the clock stands still, a few requests at a time,
// as only so many of them would be near each other in the processor's caches.
func (h *Handler) Measure(b *testing.B, status int, requests []string) {
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
