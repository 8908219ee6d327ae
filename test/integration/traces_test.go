package integration

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collected "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// collector is what an operator's collector of traces has got.
type collector struct {
	mu    sync.Mutex
	spans []*trace.Span
	text  bytes.Buffer // as it was sent
}

// ServeHTTP implements the collector's side of OTLP over HTTP.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collected.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &request) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(body)
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

func (c *collector) all() []*trace.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// requests returns the spans of requests with an outcome.
func (c *collector) requests(outcome string) (found []*trace.Span) {
	for _, s := range c.all() {
		if s.GetName() == "request" && attribute(s, "truelayer.outcome").GetStringValue() == outcome {
			found = append(found, s)
		}
	}
	return found
}

// below returns the spans below one, in the order of their beginnings.
func (c *collector) below(parent *trace.Span) (children []*trace.Span) {
	for _, s := range c.all() {
		if bytes.Equal(s.GetParentSpanId(), parent.GetSpanId()) {
			children = append(children, s)
		}
	}
	slices.SortFunc(children, func(a, b *trace.Span) int { return cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()) })
	return children
}

// named returns the first span with a name below one.
func (c *collector) named(t *testing.T, parent *trace.Span, name string) *trace.Span {
	t.Helper()
	children := c.below(parent)
	for _, s := range children {
		if s.GetName() == name {
			return s
		}
	}
	t.Fatalf("no %s among %q", name, names(children))
	return nil
}

func names(spans []*trace.Span) (names []string) {
	for _, s := range spans {
		names = append(names, s.GetName())
	}
	return names
}

// attribute returns the value of an attribute, nil if there is none.
func attribute(s *trace.Span, key string) *common.AnyValue {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue()
		}
	}
	return nil
}

// startTraced starts a site with Caddy's tracing directive.
func startTraced(t *testing.T, options string) (*world, *collector) {
	t.Helper()
	return startTracedWith(t, plain, options)
}

func startTracedWith(t *testing.T, caddyfile, options string) (*world, *collector) {
	t.Helper()
	c := new(collector)
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_BSP_SCHEDULE_DELAY": "10",
	} {
		t.Setenv(name, value)
	}
	w := start(t, caddyfile, func(w *world) {
		w.Before = "tracing {\n\t\tspan request\n\t}"
		w.Options = options
	})
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		w.keep(t, "traces", c.text.Bytes())
	})
	return w, c
}

// TestTraceOfALogin: one trace shows where a login spends its time, and what became of
// it. TrueLayer learns nothing of traces.
func TestTraceOfALogin(t *testing.T) {
	w, c := startTraced(t, "")
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Header: http.Header{"X-Tl-Correlation-Id": {"a-correlation-id"}}})
	equal(t, "login", b.navigate(callback).location(), "/page")
	waitUntil(t, "the spans", func() bool { return len(c.requests("redirected")) == 2 })
	login := c.requests("redirected")[1]
	// the request begins to wait beside the exchange, which may have done something by then
	c.named(t, login, "truelayer.wait exchange")
	exchange := slices.DeleteFunc(names(c.below(login)), func(name string) bool { return name == "truelayer.wait exchange" })
	if want := []string{"truelayer.store create", "truelayer.store create", "truelayer.token", "truelayer.store replace"}; !slices.Equal(exchange, want) {
		t.Fatalf("the exchange has the spans %q, want %q", exchange, want)
	}
	token := c.named(t, login, "truelayer.token")
	equal(t, "kind", token.GetKind(), trace.Span_SPAN_KIND_CLIENT)
	equal(t, "grant", attribute(token, "truelayer.grant").GetStringValue(), "authorization_code")
	equal(t, "status", attribute(token, "http.response.status_code").GetIntValue(), 200)
	equal(t, "correlation id", attribute(token, "truelayer.correlation_id").GetStringValue(), "a-correlation-id")
	equal(t, "error type", attribute(token, "error.type"), nil)
	equal(t, "trace", string(token.GetTraceId()), string(login.GetTraceId()))
	if _, header := w.sim.LastTokenRequest(); header.Get("Traceparent") != "" || header.Get("Baggage") != "" {
		t.Errorf("TrueLayer was sent %v", header)
	}
	if _, got := w.app.requests(); got != nil {
		t.Error("the application was asked")
	}
}

// TestTraceOfAFailure: the trace has the reason and the kind of the error, and its id is
// the one that the page and the log name.
func TestTraceOfAFailure(t *testing.T) {
	w, c := startTraced(t, "")
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	w.sim.Fail(simulator.Token, says400("invalid_client"))
	page := b.navigate(callback)
	equal(t, "status", page.StatusCode, http.StatusBadGateway)
	waitUntil(t, "the spans", func() bool { return len(c.requests("failed")) == 1 })
	failed := c.requests("failed")[0]
	equal(t, "reason", attribute(failed, "truelayer.reason").GetStringValue(), "client_refused")
	id := hex.EncodeToString(failed.GetTraceId())
	if !strings.Contains(page.body, "<dd>"+id+"</dd>") || !strings.Contains(diagnostics(w.log.text(t)), `"request_id":"`+id+`"`) {
		t.Errorf("the page or the log has another id than %s: %s", id, page.body)
	}
	token := c.named(t, failed, "truelayer.token")
	equal(t, "error type", attribute(token, "error.type").GetStringValue(), "invalid_client")
	equal(t, "status", token.GetStatus().GetCode(), trace.Status_STATUS_CODE_ERROR)
}

// TestTraceOfANameCheck: the question to the bank is a span below the request that had it
// asked, and says what became of it. No trace has the name.
func TestTraceOfANameCheck(t *testing.T) {
	w, c := startTraced(t, "")
	w.Before += "\n\tsign_in"
	w.Options = "verify_name {http.sign_in.name} {\n\t\t\tapi " + w.AuthServer + "\n\t\t}"
	if err := w.load(plain); err != nil {
		t.Fatal(err)
	}
	for _, name := range people {
		w.secrets.add(name)
	}
	b := w.signedIn()
	w.named(b, "1")
	w.sim.Fail(simulator.Verify, simulator.Fault{Times: 1, Status: http.StatusForbidden})
	w.named(b, "2")
	waitUntil(t, "the spans", func() bool { return len(c.requests("forwarded")) == 2 })
	for i, want := range []string{"match", "unavailable"} {
		asked := c.named(t, c.requests("forwarded")[i], "truelayer.verify_name")
		equal(t, "kind", asked.GetKind(), trace.Span_SPAN_KIND_CLIENT)
		equal(t, "result", attribute(asked, "truelayer.result").GetStringValue(), want)
	}
}

// TestTraceOfARenewal: the request for the link is a span below the request that had it asked
// for, with what became of it. No trace has the refresh token.
func TestTraceOfARenewal(t *testing.T) {
	w, c := startTraced(t, "scopes verification offline_access")
	b := w.signedIn()
	w.toBank(t, b)
	w.sim.Fail(simulator.ReauthURI, simulator.Fault{Times: 1, Status: http.StatusUnauthorized, Body: `{"error":"invalid_request"}`})
	w.press(t, b, renewPath)
	waitUntil(t, "the spans", func() bool { return len(c.requests("redirected")) == 4 })
	for i, want := range []string{"", "invalid_request"} {
		asked := c.named(t, c.requests("redirected")[2+i], "truelayer.renewal_link")
		equal(t, "kind", asked.GetKind(), trace.Span_SPAN_KIND_CLIENT)
		equal(t, "error type", attribute(asked, "error.type").GetStringValue(), want)
	}
}

// TestTraceOfAWait: a request that waits for the refresh of another shows how long, and
// links to the one that began it.
func TestTraceOfAWait(t *testing.T) {
	w, c := startTraced(t, "scopes verification offline_access")
	b := w.signedInExpired()
	hold := make(chan struct{})
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	done := make(chan struct{}, 2)
	ask := func() { b.navigate(w.Site + "/page"); done <- struct{}{} }
	go ask()
	awaitWaiting(t, 1)
	go ask()
	awaitWaiting(t, 2)
	close(hold)
	<-done
	<-done
	waitUntil(t, "the spans", func() bool { return len(c.requests("forwarded")) == 2 })
	first, second := c.requests("forwarded")[0], c.requests("forwarded")[1]
	if !slices.Contains(names(c.below(first)), "truelayer.token") {
		first, second = second, first
	}
	equal(t, "links of the first", len(c.named(t, first, "truelayer.wait refresh").GetLinks()), 0)
	links := c.named(t, second, "truelayer.wait refresh").GetLinks()
	if len(links) != 1 || !bytes.Equal(links[0].GetSpanId(), first.GetSpanId()) {
		t.Errorf("the second links to %v, not to %x", links, first.GetSpanId())
	}
	for _, name := range []string{"truelayer.store get", "truelayer.token", "truelayer.store replace"} {
		c.named(t, first, name)
	}
}

// TestTraceOfASlowStore: the trace of a request that waited for the store says so. What
// a request leaves to be done in the background belongs to its trace.
func TestTraceOfASlowStore(t *testing.T) {
	const delay = 50 * time.Millisecond
	w, c := startTraced(t, "store slow\n\t\tidle_timeout 1s")
	slow(t, delay)
	b := w.signedIn()
	for range 2 { // the use that the second one notes
		equal(t, "page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	}
	waitUntil(t, "the spans", func() bool { return len(c.requests("forwarded")) == 2 })
	request := c.requests("forwarded")[1]
	get := c.named(t, request, "truelayer.store get")
	equal(t, "result", attribute(get, "truelayer.result").GetStringValue(), "ok")
	if took := time.Duration(get.GetEndTimeUnixNano() - get.GetStartTimeUnixNano()); took < delay { //nolint:gosec // a moment
		t.Errorf("it took %v", took)
	}
	waitUntil(t, "the touch", func() bool { return slices.Contains(names(c.below(request)), "truelayer.store replace") })
}
