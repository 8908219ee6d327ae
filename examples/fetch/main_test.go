package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demotest"
)

// TestFetch: the page is public. Its data comes with a session, and without one the
// script learns where to log in.
func TestFetch(t *testing.T) {
	site := demotest.Start(t, example())
	v := demotest.NewVisitor(t, site)
	for path, want := range map[string]string{
		"/": `<script src="/connect.js" defer>`, "/connect.js": "fetchOrConnect", "/page.js": `fetchOrConnect("/payslips")`, "/style.css": "color-scheme",
	} {
		demotest.Contains(t, path, v.Open(path).Text, want)
	}

	answer := v.Fetch(http.MethodGet, "/payslips", "")
	if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusUnauthorized || got != "application/problem+json" {
		t.Errorf("without a session: %s, %s", answer.Status, got)
	}
	var problem struct {
		LoginURL string `json:"login_url"`
	}
	if err := json.Unmarshal([]byte(answer.Text), &problem); err != nil || !strings.HasPrefix(problem.LoginURL, site+"/truelayer/login") {
		t.Fatalf("the login URL is %q: %v", problem.LoginURL, err)
	}
	login, _, _ := strings.Cut(problem.LoginURL, "?")
	if back := v.Connect(v.Open(login + "?return=/?show").Location); back != "/?show" {
		t.Errorf("the callback leads to %q", back)
	}
	v.Header = http.Header{"X-Bank": {"another one"}}
	demotest.Contains(t, "the data", v.Fetch(http.MethodGet, "/payslips", "").Text, `"bank":"mock"`, `"month":"October 2026"`)
}

// TestConnect: the page uses the function that docs/frontends.md recommends.
func TestConnect(t *testing.T) {
	document, err := os.ReadFile("../../docs/frontends.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(document), "```js\n")
	recommended, _, _ := strings.Cut(rest, "```")
	script, err := os.ReadFile("public/connect.js")
	if err != nil {
		t.Fatal(err)
	}
	if recommended == "" || string(script) != recommended {
		t.Errorf("public/connect.js is not what docs/frontends.md has:\n%s", recommended)
	}
}
