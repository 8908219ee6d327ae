package truelayer

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// FuzzProviderText: a text that came through the browser is text on a page and
// in JSON: it is no markup, and not without end.
func FuzzProviderText(f *testing.F) {
	for _, seed := range []string{"", "access was denied", "<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "&lt;b&gt;", "\xff\x00\u2028", "{{.Link}}", "</p></main>", "javascript:alert(1)"} {
		f.Add(seed, "/page?a=b")
	}
	f.Add(strings.Repeat("ä", 1000), "/"+strings.Repeat("p", 900))
	a := &failureResponder{responder: testResponder(f), addresses: testAddresses(), logger: zap.NewNop()}
	show := func(t *testing.T, fields map[string]string, text, returnTo string) *httptest.ResponseRecorder {
		t.Helper()
		w := httptest.NewRecorder()
		if err := a.fail(w, arrived(requestWith("GET", fields)), failure{reason: providerError, provider: text, returnTo: returnTo}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	person := map[string]string{"Sec-Fetch-Mode": "navigate"}
	f.Fuzz(func(t *testing.T, text, target string) {
		returnTo := a.addresses.returnTarget(target)
		page := show(t, person, text, returnTo).Body.String()
		plain := show(t, person, "x", "/").Body.String()
		if sanitize(text) != "" && strings.Count(page, "<") != strings.Count(plain, "<") || strings.Count(page, `"`) > strings.Count(plain, `"`) {
			t.Errorf("%q, %q: another page came out: %s", text, returnTo, page)
		}
		if !utf8.ValidString(page) || len(page) > len(plain)+200*len("&#34;")+10*maxReturn {
			t.Errorf("%q: a page of %d bytes", text, len(page))
		}
		var problem struct {
			Provider string `json:"provider_error"`
			LoginURL string `json:"login_url"`
		}
		answer := show(t, nil, text, returnTo).Body.Bytes()
		if err := json.Unmarshal(answer, &problem); err != nil || problem.Provider != sanitize(text) || utf8.RuneCountInString(problem.Provider) > 201 || !strings.HasPrefix(problem.LoginURL, testOrigin+"/") {
			t.Errorf("%q, %q: %s: %v", text, returnTo, answer, err)
		}
	})
}

// TestKindsHaveReasons: every error of a session is answered with a reason of its
// own kind.
func TestKindsHaveReasons(t *testing.T) {
	for kind := session.StoreFailed; kind <= session.TooManyLogins; kind++ {
		f := failureOf(&session.Error{Kind: kind, Cause: errors.New("a cause"), RetryAfter: time.Minute})
		if _, ok := problems[f.reason]; !ok || f.cause == nil || f.retryAfter != time.Minute {
			t.Errorf("kind %d is answered with %+v", kind, f)
		}
	}
	if declared := kindsDeclared(t); len(reasonOf) != declared {
		t.Errorf("%d kinds of %d have a reason", len(reasonOf), declared)
	}
}

// TestTooManyLogins: a login that has to wait comes again by itself.
func TestTooManyLogins(t *testing.T) {
	a := &failureResponder{responder: testResponder(t), addresses: testAddresses(), logger: zap.NewNop()}
	w := httptest.NewRecorder()
	q := arrived(requestWith("GET", map[string]string{"Sec-Fetch-Mode": "navigate"}))
	if err := a.fail(w, q, failureOf(&session.Error{Kind: session.TooManyLogins, Cause: errors.New("busy")})); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "2" || w.Header().Get("Refresh") != "2" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// TestFailureLines: a line says what happened to whom, what came in place of what was
// expected, and what the operator can do. Lines of different reasons differ.
func TestFailureLines(t *testing.T) {
	messages := make(map[string]reason)
	for r, p := range problems {
		if other, twice := messages[p.message]; twice || p.message == "" {
			t.Errorf("%s says %q, like %s", r, p.message, other)
		}
		messages[p.message] = r
	}
	core, logs := observer.New(zap.DebugLevel)
	a := &failureResponder{responder: testResponder(t), addresses: testAddresses(), logger: zap.New(core)}
	r := caddyhttp.PrepareRequest(requestWith("GET", nil), caddy.NewReplacer(), nil, nil)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.7")
	if err := a.fail(httptest.NewRecorder(), arrived(r), failure{reason: issuerMismatch, received: "https://elsewhere\n.example" + strings.Repeat("x", 500)}); err != nil {
		t.Fatal(err)
	}
	line := logs.All()[0]
	fields := line.ContextMap()
	if line.Message != problems[issuerMismatch].message || fields["client_ip"] != "192.0.2.7" || fields["path"] != "/page" || fields["method"] != "GET" {
		t.Errorf("%s %v", line.Message, fields)
	}
	if id, _ := fields["request_id"].(string); len(id) != 36 {
		t.Errorf("the request's id is %q", id)
	}
	if received, _ := fields["received"].(string); !strings.HasPrefix(received, "https://elsewhere.example") || len(received) > 210 {
		t.Errorf("received is %q", received)
	}
}

// kindsDeclared is how many kinds of errors package session declares.
func kindsDeclared(t *testing.T) (n int) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "internal/session/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range parsed.Decls {
		if constants, ok := declaration.(*ast.GenDecl); ok && constants.Tok == token.CONST {
			n += len(constants.Specs)
		}
	}
	return n
}

// testResponder writes responses of a site without origins of others.
func testResponder(t testing.TB) *responder {
	t.Helper()
	look, err := pages.New(pages.Settings{Name: "app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return &responder{pages: look, origins: new(origins), headers: new(headerChecker)}
}
