package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// TestPages: the pages are the site's own, in the language that the visitor's browser
// prefers unless one is fixed, and what a visitor can tell is in the log.
func TestPages(t *testing.T) {
	w := start(t, plain, nil)
	a := w.browser().navigate(w.Site + "/truelayer?code=x&state=y")
	for _, want := range []string{"<span>localhost</span>", "<dd>login_lost</dd>", " UTC</time>", `<html lang="en">`, "usual browser"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s: %s", want, a.body)
		}
	}
	equal(t, "Vary", strings.Join(a.Header.Values("Vary"), ", "), "Cookie, Accept-Language")

	a = w.browser().do(http.MethodGet, w.Site+"/truelayer?code=x&state=y", append([]string{"Accept-Language", "de-AT,de;q=0.9,en;q=0.8"}, asNavigation...)...)
	if !strings.Contains(a.body, `<html lang="de">`) || !strings.Contains(a.body, pages.Languages()[1].Text("login_lost").Title) {
		t.Errorf("in German: %s", a.body)
	}
	machine := w.browser().do(http.MethodGet, w.Site+"/page", append([]string{"Accept-Language", "de"}, asFetch...)...)
	equal(t, "for a program", machine.problem(t)["detail"], any(pages.English().Say("login_required")))

	dir := t.TempDir()
	template := `{{define "title"}}T{{end}}{{define "content"}}<h1>Mine</h1>{{.Say .Page.Key}} {{.Page.Provider}} {{.Page.Post}} {{.Page.RequestID}}
		<form method="post" action="{{.Page.Post}}"></form><a href="{{.Page.Link}}" target="_top">x</a><a href="" target="_blank">y</a>
		{{if eq .Page.Provider "odd"}}{{index .Page.Provider 99}}{{end}}{{end}}`
	write(t, filepath.Join(dir, "message.html"), template)
	own := start(t, plain, func(w *world) {
		w.Options = "pages {\nname \"Payroll <2004>\"\nlanguage en\naccent 7a1f4b\ntemplate_dir " + dir + "\n}"
	})
	a = own.browser().navigate(own.Site + "/truelayer?code=x&state=y")
	for _, want := range []string{"<h1>Mine</h1>", "<span>Payroll &lt;2004&gt;</span>", "T – Payroll &lt;2004&gt;</title>", "--action: #7a1f4b"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s: %s", want, a.body)
		}
	}
	equal(t, "Vary", strings.Join(a.Header.Values("Vary"), ", "), "Cookie")

	b := own.browser()
	state := query(t, b.navigate(own.Site+"/page").location()).Get("state")
	a = b.navigate(own.Site + "/truelayer?error=odd&state=" + state)
	if a.StatusCode != http.StatusBadGateway || strings.Contains(a.body, "<h1>Mine</h1>") || !strings.Contains(a.body, "odd</blockquote>") {
		t.Errorf("with a template that fails: %d %s", a.StatusCode, a.body)
	}
	if !strings.Contains(own.log.text(t), "a template in template_dir cannot draw its page") {
		t.Error("the log does not say so")
	}

	write(t, filepath.Join(dir, "message.html"), template+"{{")
	if err := own.load(plain); err == nil || !strings.Contains(err.Error(), "template_dir: template: message.html:3") {
		t.Errorf("a broken template: %v", err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
