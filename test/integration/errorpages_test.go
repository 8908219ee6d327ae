package integration

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestErrorFromUpstream: error routes see the same request; the token is gone.
func TestErrorFromUpstream(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.After = `
	handle_errors {
		respond "{err.status_code} [{http.request.header.Authorization}]"
	}
	reverse_proxy /broken 127.0.0.1:1`
	})
	b := w.signedIn()
	equal(t, "error page", b.navigate(w.Site+"/broken").body, "502 []")
}

// TestErrorPagesOfTheSite: with disable_error_pages the site draws the errors.
func TestErrorPagesOfTheSite(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "disable_error_pages"
		w.After = `
	handle_errors {
		respond "{err.status_code} {http.truelayer.error}"
	}`
	})
	b := w.browser()
	failed := func(callback string) string {
		t.Helper()
		a := b.navigate(w.Site + callback)
		equal(t, callback, a.StatusCode, http.StatusSeeOther)
		return b.navigate(w.Site + a.location()).body
	}
	equal(t, "declined", failed("/truelayer?error=access_denied"), "403 access_denied")
	equal(t, "lost", failed("/truelayer?code=x&state=y"), "400 login_lost")
	equal(t, "nothing to hide", b.navigate(w.Site+"/truelayer").body, "400 callback_malformed")
	equal(t, "no reason of ours", failed("/truelayer?failed=evil"), "400 callback_malformed")
	equal(t, "more than a reason", failed("/truelayer?failed=login_lost&code=x&state=y"), "400 login_lost")
	for _, reason := range []string{"store_unavailable", "token_unavailable", "too_many_logins", "auth_server_unavailable"} {
		a := b.navigate(w.Site + "/truelayer?failed=" + reason)
		if !strings.Contains(a.body, reason) || a.Header.Get("Refresh") != "" {
			t.Errorf("at an address that says %s: Refresh %q, %s", reason, a.Header.Get("Refresh"), a.body)
		}
	}
	equal(t, "a machine's 401", b.fetch(w.Site + "/").problem(t)["reason"], any("login_required"))
	frame := b.do("GET", w.Site+"/", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe")
	equal(t, "a frame's 401", frame.body, "401 login_required")
}

// TestErrorPagesExample: the example's pages are for the module's errors. Other
// errors are answered as by a site without error pages, whether the module has
// seen their request or not.
func TestErrorPagesExample(t *testing.T) {
	text, err := os.ReadFile("../../examples/own-error-pages.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	site := "{\n\tadmin off\n\tpersist_config off\n\tgrace_period 1s\n\tstorage file_system {{.Data}}\n\torder error before truelayer\n}\n" + strings.NewReplacer(
		"app.example.com {\n", "http://localhost:{{.Port}} {\n\terror /early 418\n",
		"{env.TRUELAYER_CLIENT_ID}", "{{.ClientID}}\n\t\tauth_server {{.AuthServer}}", "{env.TRUELAYER_CLIENT_SECRET}", "{env.TEST_CLIENT_SECRET}",
		"https://app.example.com", "{{.Site}}", "localhost:3000", "{{.App}}", "/srv/app", "{{.Data}}/app",
	).Replace(string(text))
	w := start(t, site, func(w *world) {
		pages := w.Data + "/app/errors/"
		if err := os.MkdirAll(pages, 0o700); err != nil {
			t.Fatal(err)
		}
		// also the ones that other errors would get if nothing kept them off
		for _, name := range []string{"access_denied", "login_lost", "", "{http.truelayer.error}"} {
			if err := os.WriteFile(pages+name+".html", []byte("the page "+name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	b, stranger := w.signedIn(), w.browser()
	equal(t, "no error", b.navigate(w.Site+"/").body, "hello")
	w.app.server.Close()
	for _, test := range []struct {
		what   string
		who    *browser
		path   string
		status int
		body   string
	}{
		{"declined", stranger, "/truelayer?error=access_denied", http.StatusForbidden, "the page access_denied"},
		{"lost", stranger, "/truelayer?code=x&state=y", http.StatusBadRequest, "the page login_lost"},
		{"the application is down", b, "/", http.StatusBadGateway, ""},
		{"before the module", stranger, "/early", http.StatusTeapot, ""},
	} {
		a := test.who.navigate(w.Site + test.path)
		if a.StatusCode == http.StatusSeeOther { // the code is gone from the address
			a = test.who.navigate(w.Site + a.location())
		}
		equal(t, test.what+": status", a.StatusCode, test.status)
		equal(t, test.what+": body", a.body, test.body)
	}
}
