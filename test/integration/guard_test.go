package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestWhoIsRedirected: without a session the answer is ours, in the form that
// suits who asks, and the application is not asked at all, also not for a form
// (CVE-2025-31492 alias GHSA-59jp-rwph-878r, where it answered behind the page).
func TestWhoIsRedirected(t *testing.T) {
	w := start(t, plain, nil)
	html := "text/html,application/xhtml+xml,*/*;q=0.8"
	for _, test := range []struct {
		name   string
		method string
		header []string
		want   string // bank, page, problem
	}{
		{"navigation", "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", html}, "bank"},
		{"old browser", "GET", []string{"Accept", html}, "bank"},
		{"curl", "GET", []string{"Accept", "*/*"}, "problem"},
		{"nothing at all", "GET", nil, "problem"},
		{"fetch", "GET", asFetch, "problem"},
		{"fetch that asks for html", "GET", []string{"Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Dest", "empty", "Accept", html}, "problem"},
		{"image", "GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "image/*"}, "problem"},
		{"event stream", "GET", []string{"Sec-Fetch-Mode", "cors", "Accept", "text/event-stream"}, "problem"},
		{"prefetch", "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch", "Accept", html}, "problem"},
		{"websocket", "GET", []string{"Sec-Fetch-Mode", "websocket", "Connection", "Upgrade", "Upgrade", "websocket"}, "problem"},
		{"websocket of an old browser", "GET", []string{"Accept", html, "Connection", "Upgrade", "Upgrade", "websocket"}, "problem"},
		{"frame", "GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", html}, "page"},
		{"form", "POST", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", html}, "page"},
		{"form of an old browser", "POST", []string{"Accept", html}, "page"},
		{"HEAD", "HEAD", []string{"Accept", html}, "problem"},
		{"preflight", "OPTIONS", []string{"Origin", "https://other.example", "Access-Control-Request-Method", "GET"}, "problem"},
		{"own Authorization", "GET", []string{"Authorization", "Bearer forged", "Accept", "*/*"}, "problem"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := w.browser().do(test.method, w.Site+"/a?b=c", test.header...)
			equal(t, "Cache-Control", a.Header.Get("Cache-Control"), "no-store")
			if test.want == "bank" {
				equal(t, "status", a.StatusCode, http.StatusSeeOther)
				equal(t, "cookies", len(a.Header.Values("Set-Cookie")), 1)
				return
			}
			equal(t, "status", a.StatusCode, http.StatusUnauthorized)
			equal(t, "Location", a.location(), "")
			equal(t, "cookies", len(a.Header.Values("Set-Cookie")), 0)
			if a.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			loginURL := w.Site + "/truelayer/login?return=" + url.QueryEscape("/a?b=c")
			switch {
			case test.want == "page":
				if !strings.Contains(a.body, `target="_top"`) || !strings.Contains(a.body, `href="`+loginURL+`"`) {
					t.Errorf("no link to the login URL at the top: %s", a.body)
				}
			case test.method != "HEAD":
				p := a.problem(t)
				equal(t, "login_url", p["login_url"], any(loginURL))
				equal(t, "reason", p["reason"], any("login_required"))
				equal(t, "status in the body", p["status"], any(401.0))
			}
		})
	}
	if n, _ := w.app.requests(); n > 0 {
		t.Errorf("%d requests reached the application", n)
	}
}

func TestLoginURL(t *testing.T) {
	w := start(t, plain, nil)
	for target, want := range map[string]string{
		"/x?y=z":                              "/x?y=z",
		"":                                    "/",
		"//evil.example/":                     "/",
		`/\evil.example/`:                     "/",
		"https://evil.example/":               "/",
		"/\t/evil.example":                    "/",
		"/truelayer/login?return=%2F":         "/",
		"/truelayer?code=a":                   "/",
		"/" + strings.Repeat("p", 5000):       "/",
		"/short?" + strings.Repeat("q", 5000): "/short",
		"/fits?" + strings.Repeat("q", 400):   "/fits?" + strings.Repeat("q", 400),
	} {
		b := w.browser()
		login := w.Site + "/truelayer/login?return=" + url.QueryEscape(target)
		if got := w.login(b, login).location(); got != want {
			t.Errorf("return=%.40q: went to %.60q, want %.60q", target, got, want)
		}
		if got := b.navigate(login); got.location() != want || strings.HasPrefix(got.location(), w.AuthServer) {
			t.Errorf("return=%.40q, signed in: went to %.60q, want %.60q", target, got.location(), want)
		}
	}
	equal(t, "an image", w.browser().do("GET", w.Site+"/truelayer/login", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image").StatusCode, 401)
	equal(t, "POST", w.browser().do("POST", w.Site+"/truelayer/login").StatusCode, 405)
	twice := w.browser().navigate(w.Site + "/truelayer/login?return=/a&return=/b")
	equal(t, "return given twice", twice.StatusCode, http.StatusSeeOther)
}

// TestLoginCookies: a browser is left with five logins in flight, and each
// cookie has a bounded size.
func TestLoginCookies(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	site, err := url.Parse(w.Site)
	if err != nil {
		t.Fatal(err)
	}
	var callbacks []string
	for range 7 {
		callbacks = append(callbacks, w.approve(b, w.Site+"/page?"+strings.Repeat("x", 2000)))
	}
	cookies := b.client.Jar.Cookies(site)
	equal(t, "login cookies", len(cookies), 5)
	for _, c := range cookies {
		if size := len(c.Name) + 1 + len(c.Value); size > 1024 {
			t.Errorf("a login cookie has %d bytes", size)
		}
	}
	equal(t, "the oldest login", b.navigate(callbacks[0]).StatusCode, http.StatusBadRequest)
	equal(t, "the newest login", b.navigate(callbacks[6]).location(), "/page")
}

// TestMatcherFailsClosed: a request is protected as it arrived and as it is.
func TestMatcherFailsClosed(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = `
	@private path /private /private/*
	rewrite /private/renamed /open
	rewrite /hidden /private/hidden
	uri strip_prefix /strip`
		w.Matcher = "@private"
	})
	for path, want := range map[string]int{
		"/":                  200,
		"/open":              200,
		"/private":           401,
		"/private/x":         401,
		"/PRIVATE/x":         401,
		"/private/renamed":   401,
		"/hidden":            401,
		"/strip/private/x":   401,
		"/x/../private/x":    401,
		"//private/x":        401,
		"/%70rivate/x":       401,
		"/private%2Fx":       401,
		"/strip/open":        200,
		"/truelayer/another": 200,
	} {
		equal(t, path, w.browser().fetch(w.Site+path).StatusCode, want)
	}
	b := w.browser()
	equal(t, "login through a rewrite", w.login(b, w.Site+"/hidden?a=b").location(), "/hidden?a=b")
	equal(t, "then", b.navigate(w.Site+"/hidden").body, "hello")
}

// TestMatcherFailsClosedBehindTracing: tracing hands on a copy of the request,
// and placeholders go on reading the one that Caddy began with.
func TestMatcherFailsClosedBehindTracing(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	for name, matcher := range map[string]string{
		"path": `path /account*`, "expression": `expression {path}.startsWith("/account")`,
		"another": `expression {http.request.uri}.endsWith("/x")`, "vars": `vars {http.request.uri.path} /account/x`,
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) {
				w.Before = "tracing\n @private " + matcher + "\n @account path /account/*\n rewrite @account /app"
				w.Matcher = "@private"
			})
			equal(t, "rewritten", w.browser().fetch(w.Site+"/account/x").StatusCode, http.StatusUnauthorized)
			n, _ := w.app.requests()
			equal(t, "requests that came through", n, 0)
			b := w.browser()
			w.login(b, w.Site+"/account/x")
			equal(t, "with a session", b.fetch(w.Site+"/account/x").StatusCode, http.StatusOK)
			_, r := w.app.requests()
			equal(t, "the application's path", r.URL.Path, "/app")
		})
	}
}
