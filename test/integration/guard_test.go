package integration

import (
	"fmt"
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
			if test.method == http.MethodPost {
				loginURL = w.Site + "/truelayer/login?tab=1" // the page with the form stays where it is
				if !strings.Contains(a.body, "was not saved") {
					t.Errorf("nothing says that it was not saved: %s", a.body)
				}
			}
			switch {
			case test.want == "page":
				target := map[bool]string{true: `target="_blank"`, false: `target="_top"`}[test.method == http.MethodPost]
				if !strings.Contains(a.body, target) || !strings.Contains(a.body, `href="`+loginURL+`"`) {
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

// TestFormWithoutASession: who sends a form without a session connects in a tab of its own,
// and sends it again from the one that it is in. Whoever else has a visitor send a form gets
// it refused, and the visitor is not asked to send it again.
func TestFormWithoutASession(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	send := func(origin string) *answer {
		return b.do(http.MethodPost, w.Site+"/save", append([]string{"Origin", origin}, asNavigation...)...)
	}
	for _, foreign := range []string{"https://elsewhere.example", "null", "http://localhost.elsewhere.example"} {
		a := send(foreign)
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "cross_site") || strings.Contains(a.body, "send the form again") {
			t.Errorf("from %s: %d %s", foreign, a.StatusCode, a.body)
		}
	}
	a := send(w.Site)
	if a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "send the form again") || !strings.Contains(a.body, `href="`+w.Site+`/truelayer/login?tab=1" target="_blank"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	end := w.login(b, w.Site+"/truelayer/login?tab=1").location()
	equal(t, "the login ends at", end, "/truelayer/login?tab=end")
	for _, target := range []string{end, "/truelayer/login?tab=1"} {
		if a := b.navigate(w.Site + target); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "You can close this tab") {
			t.Errorf("%s: %d %s", target, a.StatusCode, a.body)
		}
	}
	equal(t, "then", send(w.Site).StatusCode, http.StatusOK)
	if a := w.browser().navigate(w.Site + end); a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "session_lost") {
		t.Errorf("without a session: %d %s", a.StatusCode, a.body)
	}
}

// TestFormOnAnotherHost: on another host of the site there is no session after a login in a new
// tab either, so the page leads to the same page on the host where there will be one.
func TestFormOnAnotherHost(t *testing.T) {
	w := start(t, strings.Replace(plain, "http://localhost:{{.Port}} {", "http://localhost:{{.Port}}, http://127.0.0.1:{{.Port}} {", 1), nil)
	other := fmt.Sprintf("http://127.0.0.1:%d", w.Port)
	a := w.browser().do(http.MethodPost, other+"/save", append([]string{"Sec-Fetch-Site", "same-origin", "Origin", other, "Referer", other + "/form?step=2"}, asNavigation...)...)
	want := `href="` + w.Site + "/truelayer/login?return=" + url.QueryEscape("/form?step=2") + `"`
	if a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, want) || strings.Contains(a.body, "new tab") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestFormInAFrame: whoever sends a form in a frame reads that it was not saved, and is led to
// the page that it was on. Another site's form in a frame is refused.
func TestFormInAFrame(t *testing.T) {
	w := start(t, plain, nil)
	send := func(origin string) *answer {
		return w.browser().do(http.MethodPost, w.Site+"/save", "Origin", origin, "Referer", origin+"/form", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe")
	}
	a := send(w.Site)
	if a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "was not saved") || !strings.Contains(a.body, `href="`+w.Site+`/truelayer/login?return=%2Fform" target="_top"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := send("https://elsewhere.example"); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "cross_site") {
		t.Errorf("another site's: %d %s", a.StatusCode, a.body)
	}
}

// TestNoWayToABank: where the start of the site is protected no page has a link to it,
// which would lead to a bank without being asked.
func TestNoWayToABank(t *testing.T) {
	for matcher, want := range map[string]bool{"": false, "/account*": true, "@private": true, "@start": false} {
		t.Run(matcher, func(t *testing.T) {
			w := start(t, plain, func(w *world) {
				w.Matcher = matcher
				w.Before = "@private not path / /about\n@start path /\n"
			})
			for _, target := range []string{"/truelayer", "/truelayer/logout"} {
				a := w.browser().navigate(w.Site + target)
				equal(t, target+": a link to the start", strings.Contains(a.body, `href="`+w.Site+`/"`), want)
			}
		})
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
		"/fits?" + strings.Repeat("q", 1994):  "/fits?" + strings.Repeat("q", 1994),
		"/short?" + strings.Repeat("q", 1994): "/short",
		`/x?file=a\b`:                         "/x?file=a%5Cb",
		`/x\y?file=a`:                         "/",
		`/x?y="<>^{|}` + "`'":                 "/x?y=%22%3C%3E%5E%7B%7C%7D%60'",
		"/x?y=\r\nSet-Cookie: a=b#z":          "/x?y=%0D%0ASet-Cookie:%20a=b%23z",
		"/x?y=%5C%zz":                         "/x?y=%5C%zz",
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

// TestLoginCookies: a browser is left with five logins, and with less than 8 KB of
// Cookie line, which is what many servers in front take: whether they begin one
// after the other or at once, where none sees the others' cookies.
func TestLoginCookies(t *testing.T) {
	w := start(t, plain, nil)
	site, err := url.Parse(w.Site)
	if err != nil {
		t.Fatal(err)
	}
	bounded := func(what string, b *browser) {
		t.Helper()
		if _, logins := b.ownCookies(w.Site); len(logins) > 5 {
			t.Errorf("%s: %d login cookies", what, len(logins))
		}
		if size := len(b.cookies(w.Site)); size > 6<<10 {
			t.Errorf("%s: a Cookie line of %d bytes", what, size)
		}
	}
	deep := func(n int) string { return "/page?" + strings.Repeat("x", n-len("/page?")) }
	for _, length := range []int{7, 150, 400, 2000, 3000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			b := w.browser()
			var callbacks []string
			for range 7 {
				callbacks = append(callbacks, w.approve(b, w.Site+deep(length)))
				bounded("one after the other", b)
			}
			newest := b.navigate(callbacks[6]).location()
			if newest != deep(length) && newest != "/page" {
				t.Errorf("the newest login leads to %.30s", newest)
			}
			bounded("after a login", b)
			equal(t, "the oldest one, signed in", b.navigate(callbacks[0]).StatusCode, http.StatusSeeOther)

			// thirty tabs at once: every answer comes before the next request is sent
			b = w.browser()
			type tab struct{ callback, cookie string }
			tabs := make(map[string]tab)
			for range 30 {
				alone := w.browser()
				callback := w.approve(alone, w.Site+deep(length))
				c := alone.client.Jar.Cookies(site)
				tabs[c[0].Name] = tab{callback, c[0].Value}
				b.client.Jar.SetCookies(site, c)
				bounded("at once", b)
			}
			for _, tab := range tabs {
				equal(t, "one that is left", b.navigate(tab.callback).StatusCode, http.StatusSeeOther)
			}
		})
	}
	// a deep link survives where there is room
	b := w.browser()
	equal(t, "a long return target", w.login(b, w.Site+deep(2000)).location(), deep(2000))
	equal(t, "one that is too long", w.login(w.browser(), w.Site+deep(2001)).location(), "/page")
	bounded("a login that is done", b)
	for range 10 { // what is done makes room
		b.do("POST", w.Site+"/truelayer/logout")
		equal(t, "a login after many", w.login(b, w.Site+deep(1000)).location(), deep(1000))
		bounded("many that are done", b)
	}
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
