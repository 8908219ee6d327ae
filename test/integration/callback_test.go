package integration

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func TestDeclined(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Matcher = "/page*" })
	b := w.browser()
	sent := b.navigate(w.Site + "/page?a=1")
	callback, err := simulator.Approve(t.Context(), nil, sent.location(), simulator.Cancel())
	if err != nil {
		t.Fatal(err)
	}
	a := b.navigate(callback)
	equal(t, "status", a.StatusCode, http.StatusForbidden)
	if !strings.Contains(a.body, "Your bank was not connected") ||
		!strings.Contains(a.body, `href="`+w.Site+"/truelayer/login?return="+url.QueryEscape("/page?a=1")+`"`) ||
		!strings.Contains(a.body, `href="`+w.Site+`/"`) {
		t.Error(a.body)
	}
	equal(t, "reason", b.fetch(callback).problem(t)["reason"], any("access_denied"))
	equal(t, "exchanges", w.sim.Calls("token"), 0)
}

// TestProviderErrors: what an error says is no part of the page's HTML
// (CVE-2023-52430), and is shown to the browser that began the login only.
func TestProviderErrors(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	state := query(t, b.navigate(w.Site+"/page").location()).Get("state")
	callback := w.Site + "/truelayer?error=server_error&error_description=%3Cscript%3Ealert(1)%3C/script%3E"
	if a := w.browser().navigate(callback); strings.Contains(a.body, "alert") {
		t.Error("anybody can put a text on the page")
	}
	a := b.navigate(callback + "&state=" + state)
	equal(t, "status", a.StatusCode, http.StatusBadGateway)
	if strings.Contains(a.body, "<script>") || !strings.Contains(a.body, "&lt;script&gt;") {
		t.Errorf("not escaped: %s", a.body)
	}
	csp := a.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
}

// TestCallbackRefuses: nothing crashes (CVE-2023-27496, without a state),
// nothing is exchanged, and the login that is under way in the same browser
// still works.
func TestCallbackRefuses(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	values := query(t, callback)
	code, state := values.Get("code"), values.Get("state")
	for name, test := range map[string]struct {
		query string
		want  int
	}{
		"empty":                {"", 403},
		"no code":              {"state=" + state, 403},
		"two codes":            {"code=x&code=" + code + "&state=" + state, 400},
		"two states":           {"code=" + code + "&state=" + state + "&state=" + state, 400},
		"two errors":           {"error=a&error=b&state=" + state, 400},
		"code and error":       {"code=" + code + "&error=access_denied&state=" + state, 400},
		"no state":             {"code=" + code, 400},
		"another state":        {"code=" + code + "&state=" + strings.Repeat("A", 43), 400},
		"semicolons":           {"code=" + code + ";state=" + state, 400},
		"broken escape":        {"code=%zz&state=" + state, 400},
		"control character":    {"code=%0d%0a&state=" + state, 400},
		"NUL":                  {"code=%00" + code + "&state=" + state, 400},
		"not UTF-8":            {"code=%ff%fe&state=" + state, 400},
		"a space":              {"code=a+b&state=" + state, 400},
		"state with CRLF":      {"code=" + code + "&state=" + state + "%0d%0aSet-Cookie:+x=y", 400},
		"state with NUL":       {"code=" + code + "&state=" + state + "%00", 400},
		"state not UTF-8":      {"code=" + code + "&state=%ff", 400},
		"the state's start":    {"code=" + code + "&state=" + state[:42], 400},
		"arrays":               {"code[]=" + code + "&state[]=" + state, 403},
		"capitals":             {"CODE=" + code + "&STATE=" + state, 403},
		"huge":                 {"code=" + strings.Repeat("c", 9000) + "&state=" + state, 400},
		"beyond the query":     {"state=" + state + "&code=" + code + "&x=" + strings.Repeat("x", 9000), 400},
		"64 KiB":               {"state=" + state + "&code=" + code + "&x=" + strings.Repeat("x", 64<<10), 431}, // Caddy's own
		"error without state":  {"error=access_denied", 403},
		"error, foreign state": {"error=access_denied&state=x", 403},
	} {
		a := b.navigate(w.Site + "/truelayer?" + test.query)
		equal(t, name, a.StatusCode, test.want)
		equal(t, name+": cookies", len(a.Header.Values("Set-Cookie")), 0)
	}
	for _, method := range []string{"POST", "HEAD", "PUT", "OPTIONS", "TRACE", "DELETE", "BREW"} {
		equal(t, method, b.do(method, callback).StatusCode, http.StatusMethodNotAllowed)
	}
	equal(t, "another browser", w.browser().navigate(callback).StatusCode, http.StatusBadRequest)
	equal(t, "exchanges", w.sim.Calls("token"), 0)
	equal(t, "the login under way", b.navigate(callback).location(), "/page")
}

func TestCallbackAgain(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	equal(t, "first", b.navigate(callback).location(), "/page")
	equal(t, "again, done", b.navigate(callback).location(), "/page")
	lost := strings.Replace(callback, "state=", "state=x", 1)
	equal(t, "lost, but signed in", b.navigate(lost).location(), "/")
	equal(t, "exchanges", w.sim.Calls("token"), 1)
}

// TestCallbackReplayed: whoever got hold of the login cookie and the callback
// has what the browser has, for the minute in which its answer may have been
// lost; once the visitor has signed out that brings nothing, and no code is
// sent for it.
func TestCallbackReplayed(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	sent := b.navigate(w.Site + "/page")
	cookie, _, _ := strings.Cut(sent.Header.Get("Set-Cookie"), ";")
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		t.Fatal(err)
	}
	b.navigate(callback)
	if err := w.load(strings.Replace(plain, "{{.Options}}", "disable_pkce", 1)); err != nil { // another configuration,
		t.Fatal(err)
	}
	equal(t, "the session after a reload", b.navigate(w.Site+"/page").StatusCode, 200)
	replay := func() *answer {
		return w.browser().do("GET", callback, append([]string{"Cookie", cookie}, asNavigation...)...)
	}
	session, _ := b.ownCookies(w.Site)
	a := replay()
	equal(t, "a replay", a.StatusCode, http.StatusSeeOther)
	if cookies := a.Cookies(); len(cookies) != 2 || cookies[1].Value != session.Value {
		t.Errorf("a replay brought %v, not the session of the login", cookies)
	}
	equal(t, "logout", b.do("POST", w.Site+"/truelayer/logout", "Sec-Fetch-Site", "same-origin").StatusCode, http.StatusSeeOther)
	a = replay()
	equal(t, "a replay after the logout", a.StatusCode, http.StatusBadRequest)
	equal(t, "cookies of it", len(a.Cookies()), 0)
	equal(t, "exchanges", w.sim.Calls("token"), 1)
}

// TestReloadDuringExchange: the browser gives up on the callback and sends it
// again, while the exchange runs and after it ended.
func TestReloadDuringExchange(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	answer := w.leaveDuringTokenRequest(b, callback)
	again := make(chan string)
	go func() {
		a, err := b.try(t.Context(), "GET", callback, asNavigation...)
		if err != nil {
			t.Error(err)
			again <- ""
			return
		}
		again <- a.location()
	}()
	answer()
	equal(t, "reload", <-again, "/page")
	equal(t, "the page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "exchanges", w.sim.Calls("token"), 1)
}

// TestLostAnswer: the exchange ended, but its answer never reached the browser.
func TestLostAnswer(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	w.leaveDuringTokenRequest(b, callback)()
	waitUntil(t, "the session to be kept", func() bool { return b.navigate(callback).location() == "/page" })
	equal(t, "the page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "exchanges", w.sim.Calls("token"), 1)
}

func TestSameCallbackAtOnce(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	hold := make(chan struct{})
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	const n = 20
	var wg sync.WaitGroup
	locations := make(chan string, n)
	for range n {
		wg.Go(func() {
			if a, err := b.try(t.Context(), "GET", callback, asNavigation...); err == nil {
				locations <- a.location()
			}
		})
	}
	waitUntil(t, "the exchange to begin", func() bool { return w.sim.Calls("token") == 1 })
	close(hold)
	wg.Wait()
	close(locations)
	for location := range locations {
		equal(t, "location", location, "/page")
	}
	equal(t, "exchanges", w.sim.Calls("token"), 1)
	equal(t, "the page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
}

func TestTwoTabs(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		w := start(t, plain, nil)
		b := w.browser()
		pages := [2]string{"/one", "/two"}
		callbacks := [2]string{w.approve(b, w.Site+"/one"), w.approve(b, w.Site+"/two")}
		for _, tab := range order {
			equal(t, "tab", b.navigate(callbacks[tab]).location(), pages[tab])
			equal(t, "page", b.navigate(w.Site+pages[tab]).StatusCode, http.StatusOK)
		}
	}
}

// TestNewSessionAtLogin: a cookie that the browser brought is never adopted,
// and the earlier session is gone.
func TestNewSessionAtLogin(t *testing.T) {
	w := start(t, plain, nil)
	b := w.signedIn()
	site, _ := url.Parse(w.Site)
	session := func() string {
		for _, c := range b.client.Jar.Cookies(site) {
			if !strings.Contains(c.Name, "-login-") {
				return c.Name + "=" + c.Value
			}
		}
		return ""
	}
	first := session()
	other := w.browser() // a login that was begun without the session
	callback := w.approve(other, w.Site+"/")
	for _, c := range other.client.Jar.Cookies(site) {
		b.client.Jar.SetCookies(site, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/"}}) //nolint:gosec // as browsers send them, without attributes
	}
	equal(t, "second login", b.navigate(callback).location(), "/")
	if second := session(); second == first || second == "" {
		t.Error("the session cookie did not change")
	}
	stale := w.browser().do("GET", w.Site+"/", "Cookie", first)
	equal(t, "the first session", stale.StatusCode, http.StatusUnauthorized)
}

// TestSessionCookieBlocked: two redirects and a page, not a loop.
func TestSessionCookieBlocked(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	back := w.login(b, w.Site+"/page")
	var kept []string
	for _, c := range back.Cookies() {
		if strings.Contains(c.Name, "-login-") {
			kept = append(kept, c.Name+"="+c.Value)
		}
	}
	a := w.browser().do("GET", w.Site+"/page", append([]string{"Cookie", strings.Join(kept, "; ")}, asNavigation...)...)
	equal(t, "status", a.StatusCode, http.StatusUnauthorized)
	if !strings.Contains(a.body, "session_lost") {
		t.Error(a.body)
	}
	asked := w.browser().do("GET", w.Site+"/truelayer/login", append([]string{"Cookie", strings.Join(kept, "; ")}, asNavigation...)...)
	equal(t, "when asked for", asked.StatusCode, http.StatusSeeOther)
}

// TestCallbackIssuer: who names an issuer has to name ours (RFC 9207), also
// with an error; TrueLayer names none.
func TestCallbackIssuer(t *testing.T) {
	for name, test := range map[string]struct{ options, ours string }{
		"the auth server": {"", ""},
		"as configured":   {"issuer https://issuer.example.com", "https://issuer.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Options = test.options })
			ours := test.ours
			if ours == "" {
				ours = w.AuthServer
			}
			b := w.browser()
			callback := w.approve(b, w.Site+"/page")
			for _, other := range []string{"https://evil.example.com", ours + "/", strings.ToUpper(ours), "null", " "} {
				iss := "&iss=" + url.QueryEscape(other)
				a := b.fetch(callback + iss)
				equal(t, other+": status", a.StatusCode, http.StatusBadRequest)
				equal(t, other+": reason", a.problem(t)["reason"], any("issuer_mismatch"))
				equal(t, other+": cookies", len(a.Header.Values("Set-Cookie")), 0)
				state := query(t, callback).Get("state")
				a = b.fetch(w.Site + "/truelayer?error=access_denied&state=" + state + iss)
				equal(t, other+" with an error", a.StatusCode, http.StatusBadRequest)
			}
			equal(t, "twice", b.navigate(callback+"&iss=a&iss=a").StatusCode, http.StatusBadRequest)
			equal(t, "exchanges", w.sim.Calls("token"), 0)
			equal(t, "ours", b.navigate(callback+"&iss="+url.QueryEscape(ours)).location(), "/page")
		})
	}
}

// TestMixUp: one block's answer at another block's address, and the other way
// round, exchange nothing and leave both logins as they were.
func TestMixUp(t *testing.T) {
	w := start(t, twoBlocks, nil)
	b := w.browser()
	one, two := w.approve(b, w.Site+"/one"), w.approve(b, w.Site+"/two")
	equal(t, "one's answer at two", b.navigate(strings.Replace(one, "/truelayer?", "/second?", 1)).StatusCode, http.StatusBadRequest)
	equal(t, "two's answer at one", b.navigate(strings.Replace(two, "/second?", "/truelayer?", 1)).StatusCode, http.StatusBadRequest)
	code := func(callback string) string { return query(t, callback).Get("code") }
	swapped := strings.Replace(one, "code="+url.QueryEscape(code(one)), "code="+url.QueryEscape(code(two)), 1)
	equal(t, "exchanges", w.sim.Calls("token"), 0)
	// another client's code under this login's state: the auth server refuses it, by PKCE and redirect URI
	equal(t, "two's code in one's login", b.navigate(swapped).StatusCode, http.StatusBadGateway)
	equal(t, "two itself", b.navigate(two).StatusCode, http.StatusBadGateway) // its code is burnt, and opened nothing
	equal(t, "sessions", b.navigate(w.Site+"/one").StatusCode, http.StatusSeeOther)
}

// TestCallbackOfAnotherConfiguration: a login that was begun under another
// client, or under a secret that has been replaced, ends on a page that says
// so and exchanges nothing. Sessions outlast a new secret.
func TestCallbackOfAnotherConfiguration(t *testing.T) {
	for name, change := range map[string]func(w *world) string{
		"another client": func(w *world) string {
			w.ClientID = "sandbox-other"
			return plain
		},
		"another secret": func(*world) string {
			return strings.Replace(plain, "{env.TEST_CLIENT_SECRET}", "another-client-secret", 1)
		},
		"other scopes": func(w *world) string {
			w.Options = "scopes info"
			return plain
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, nil)
			signedIn, b := w.signedIn(), w.browser()
			callback := w.approve(b, w.Site+"/page")
			exchanges := w.sim.Calls("token")
			if err := w.load(change(w)); err != nil {
				t.Fatal(err)
			}
			a := b.fetch(callback)
			equal(t, "status", a.StatusCode, http.StatusBadRequest)
			equal(t, "reason", a.problem(t)["reason"], any("login_lost"))
			equal(t, "exchanges", w.sim.Calls("token"), exchanges)
			want := http.StatusSeeOther // to the bank: it is another connection
			if name == "another secret" {
				want = http.StatusOK
			}
			equal(t, "who was signed in", signedIn.navigate(w.Site+"/page").StatusCode, want)
		})
	}
}
