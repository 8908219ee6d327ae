package browser

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestLoops breaks, one at a time, what a login needs to be remembered.
// Wherever software of this kind then sends its visitors round between site and
// bank, they have to come to rest on a page that says why.
func TestLoops(t *testing.T) {
	t.Run("cookies of the site are blocked", testSiteCookiesBlocked)
	t.Run("the session cookie is lost on its way", testSessionCookieDropped)
	t.Run("another host name", testAnotherHostName)
	t.Run("the clock is wrong", testWrongClock)
	t.Run("the store is down", testStoreDown)
	t.Run("the store forgets", testStoreForgets)
	t.Run("two processes that share nothing", testTwoProcesses)
}

// testSiteCookiesBlocked is a visitor who has blocked the cookies of this one
// site, so that even the login's own does not come back.
func testSiteCookiesBlocked(t *testing.T) {
	s := newSite(t, freePort(t))
	s.run(t, s.caddyfile(t, s.url, ""))
	home := t.TempDir()
	if err := os.MkdirAll(profile(home)+"/Default", 0o700); err != nil {
		t.Fatal(err)
	}
	blocked := fmt.Sprintf(`{"profile": {"content_settings": {"exceptions": {"cookies": {"%s,*": {"setting": 2}}}}}}`, s.url)
	if err := os.WriteFile(profile(home)+"/Default/Preferences", []byte(blocked), 0o600); err != nil {
		t.Fatal(err)
	}
	tab := startBrowserIn(t, home).tab()
	tab.begins(func() { tab.open(s.url + "/account") })
	equal(t, "a cookie of the bank", tab.script(`document.cookie = "probe=1"; document.cookie`), "probe=1")
	tab.goesToAccounts()
	tab.ends(func() { tab.click("Connect") }, "login_lost", "cookies are blocked")
	equal(t, "cookies of the site", len(tab.cookies(s.url)), 0)

	tab.begins(func() { tab.click("Start again") })
	tab.goesToAccounts()
	tab.ends(func() { tab.click("Connect") }, "login_lost", "cookies are blocked")
	equal(t, "visits to the bank, one for each click", s.sim.Calls(simulator.Authorize), 2)
	equal(t, "exchanges", s.exchanges(), 0)
}

// testSessionCookieDropped has something in front that hands on one Set-Cookie
// of an answer only, the first, which is the login's.
func testSessionCookieDropped(t *testing.T) {
	node := freePort(t)
	front := serve(t, proxy(func(*http.Request) int { return node }, func(answer *http.Response) error {
		if lines := answer.Header.Values("Set-Cookie"); len(lines) > 1 {
			answer.Header["Set-Cookie"] = lines[:1]
		}
		return nil
	}))
	s := newSite(t, portOf(t, front))
	s.run(t, s.caddyfile(t, fmt.Sprintf("http://localhost:%d", node), ""))
	tab := startBrowser(t).tab()
	tab.begins(func() { tab.open(s.url + "/account") })
	tab.goesToAccounts()
	tab.ends(func() { tab.click("Connect") }, "session_lost", "blocking cookies")
	equal(t, "sessions", len(s.sessions(tab)), 0)
	tab.ends(tab.reload, "session_lost", "blocking cookies")
	equal(t, "visits to the bank", s.sim.Calls(simulator.Authorize), 1)

	tab.begins(func() { tab.click("Connect again") })
	tab.goesToAccounts()
	tab.ends(func() { tab.click("Connect") }, "session_lost", "blocking cookies")
	equal(t, "visits to the bank, one for each click", s.sim.Calls(simulator.Authorize), 2)
}

// testAnotherHostName opens the site under a name that is not the redirect URI's,
// where the login's cookie would not be sent: the login begins where it will be.
func testAnotherHostName(t *testing.T) {
	port := freePort(t)
	s := newSite(t, port)
	other := fmt.Sprintf("http://127.0.0.1:%d", port)
	s.run(t, s.caddyfile(t, s.url+", "+other, ""))
	tab := startBrowser(t).tab()
	tab.begins(func() { tab.open(other + "/account?x=y") })
	tab.goesToAccounts()
	tab.arrives(func() { tab.click("Connect") }, "My account")
	equal(t, "the address", tab.address(), s.url+"/account?x=y")
	equal(t, "cookies under the other name", len(tab.cookies(other)), 0)
	tab.arrives(func() { tab.open(other + "/account") }, "My account")
	equal(t, "the address", tab.address(), s.url+"/account")
	equal(t, "visits to the bank", s.sim.Calls(simulator.Authorize), 1)
	equal(t, "exchanges", s.exchanges(), 1)
}

// testWrongClock has TrueLayer and this machine a day apart. Lifetimes are
// counted from here, so that only who looks into tokens is concerned.
func testWrongClock(t *testing.T) {
	const day = 24 * time.Hour
	keys := func(s *site) string {
		return "verify_access_token " + s.bank + "/.well-known/openid-configuration/jwks"
	}
	none := func(*site) string { return "" }
	for name, test := range map[string]struct {
		ahead   time.Duration // of this machine
		options func(*site) string
		refused bool
	}{
		"TrueLayer's is ahead":             {day, none, false},
		"TrueLayer's is behind":            {-day, none, false},
		"TrueLayer's is ahead, verifying":  {day, keys, true},  // its tokens are not valid yet
		"TrueLayer's is behind, verifying": {-day, keys, true}, // its tokens have expired when they come
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, freePort(t))
			s.sim.Set(func(set *simulator.Settings) { set.ClockSkew = test.ahead })
			s.run(t, s.caddyfile(t, s.url, test.options(s)))
			tab := startBrowser(t).tab()
			tab.begins(func() { tab.open(s.url + "/account") })
			tab.goesToAccounts()
			if !test.refused {
				tab.arrives(func() { tab.click("Connect") }, "My account")
				tab.arrives(tab.reload, "My account")
			} else {
				tab.ends(func() { tab.click("Connect") }, "token_refused", "tell the people who run this site")
				equal(t, "sessions", len(s.sessions(tab)), 0)
			}
			equal(t, "visits to the bank", s.sim.Calls(simulator.Authorize), 1)
			equal(t, "exchanges", s.exchanges(), 1)
		})
	}
}

// testStoreDown has a store that answers nothing but errors, first when a
// visitor comes back from the bank, then when one is signed in.
func testStoreDown(t *testing.T) {
	s := newSite(t, freePort(t))
	s.run(t, s.caddyfile(t, s.url, "store failing"))
	storeDown.Store(true)
	defer storeDown.Store(false)
	tab := startBrowser(t).tab()
	tab.begins(func() { tab.open(s.url + "/account") })
	tab.goesToAccounts()
	tab.ends(func() { tab.click("Connect") }, "store_unavailable", "Something on our side is not answering")
	tab.ends(tab.reload, "store_unavailable", "This page tries again by itself")
	equal(t, "exchanges while nothing can be kept", s.exchanges(), 0)

	storeDown.Store(false)
	tab.arrives(tab.reload, "My account") // as the page said: the code was not spent
	storeDown.Store(true)
	tab.ends(tab.reload, "store_unavailable", "You are still signed in")
	tab.ends(func() { tab.open(s.url + "/truelayer/login?return=/account") }, "store_unavailable", "You are still signed in")
	storeDown.Store(false)
	tab.arrives(func() { tab.open(s.url + "/account") }, "My account")
	equal(t, "visits to the bank", s.sim.Calls(simulator.Authorize), 1)
}

// testStoreForgets has a store that takes every record and finds none again, as
// one does that is full of other things. The browser keeps its cookies, so the
// page must not blame it.
func testStoreForgets(t *testing.T) {
	s := newSite(t, freePort(t))
	s.run(t, s.caddyfile(t, s.url, "store failing"))
	storeForgets.Store(true)
	defer storeForgets.Store(false)
	tab := startBrowser(t).tab()
	tab.begins(func() { tab.open(s.url + "/account") })
	tab.goesToAccounts()
	tab.ends(func() { tab.click("Connect") }, "session_unknown", "tell the people who run this site")
	equal(t, "sessions that the browser has", len(s.sessions(tab)), 1)
	tab.ends(tab.reload, "session_unknown", "tell the people who run this site")
	equal(t, "visits to the bank", s.sim.Calls(simulator.Authorize), 1)

	tab.begins(func() { tab.click("Connect again") })
	tab.goesToAccounts()
	tab.ends(func() { tab.click("Connect") }, "session_unknown", "tell the people who run this site")
	equal(t, "visits to the bank, one for each click", s.sim.Calls(simulator.Authorize), 2)
}

// testTwoProcesses puts a balancer before two Caddys that keep sessions in
// their own memories, and sends each page to the other one than the page before.
func testTwoProcesses(t *testing.T) {
	nodes := [2]int{freePort(t), freePort(t)}
	var pages atomic.Int64
	front := serve(t, proxy(func(r *http.Request) int {
		if r.Header.Get("Sec-Fetch-Dest") == "document" { // icons come when they like
			return nodes[pages.Add(1)%2]
		}
		return nodes[0]
	}, nil))
	s := newSite(t, portOf(t, front))
	s.run(t, s.caddyfile(t, fmt.Sprintf("http://localhost:%d", nodes[0]), ""))
	config := t.TempDir() + "/Caddyfile"
	text := strings.Replace(s.caddyfile(t, fmt.Sprintf("http://localhost:%d", nodes[1]), ""), "ERROR", "INFO", 1) // says when it is ready
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startProgram(t, "./examples/caddy", "serving initial configuration", []string{"TEST_CLIENT_SECRET=" + clientSecret},
		"run", "--config", config, "--adapter", "caddyfile")

	tab := startBrowser(t).tab()
	tab.begins(func() { tab.open(s.url + "/account") }) // at one,
	tab.goesToAccounts()
	// back to the other, which has the session from then on, and with it to the first
	tab.ends(func() { tab.click("Connect") }, "session_unknown", "several servers")
	equal(t, "sessions that the browser has", len(s.sessions(tab)), 1)
	tab.ends(func() { tab.click("Connect again") }, "session_unknown", "several servers")
	tab.arrives(tab.reload, "My account")
	tab.ends(tab.reload, "session_unknown", "several servers")
	equal(t, "visits to the bank", s.sim.Calls(simulator.Authorize), 1)
	equal(t, "exchanges", s.exchanges(), 1)
}

// mostRedirects is how many redirects in a row a visitor may be led through.
const mostRedirects = 3

// ends does something and looks at where that takes the tab: through a few
// redirects to a page of the module's, with the reason at its foot and words
// that a person understands.
func (tab *tab) ends(doing func(), reason, words string) {
	tab.t.Helper()
	got := tab.settles(doing, `document.querySelector("footer dd")?.innerText`, "it is the module's")
	equal(tab.t, "the reason", got, reason)
	if got := tab.text("main"); !strings.Contains(got, words) {
		tab.t.Errorf("%s: the page says %q, and nothing of %q", reason, got, words)
	}
}

// arrives is the same for a page of the application.
func (tab *tab) arrives(doing func(), heading string) {
	tab.t.Helper()
	tab.settles(doing, fmt.Sprintf(`[document.querySelector("h1")?.innerText].find((h) => h === %q)`, heading), "it is "+heading)
}

// begins is the same for the bank's first page.
func (tab *tab) begins(doing func()) {
	tab.t.Helper()
	tab.arrives(doing, "Choose your bank")
}

// settles does something, waits for another page on which the expression has a
// value, and returns that.
func (tab *tab) settles(doing func(), expression, words string) string {
	tab.t.Helper()
	before := len(tab.asked(""))
	// the page that is left may look like the one that is waited for
	get(tab, "marking the page", chromedp.Evaluate[chromedp.Void](`window.isLeft = true; undefined`))
	doing()
	found := await[string](tab, "there is another page and "+words, `window.isLeft ? null : `+expression)
	if asked := tab.asked("")[before:]; len(asked) > mostRedirects+1 {
		tab.t.Errorf("%s: it took %d redirects: %q", words, len(asked)-1, asked)
	}
	return found
}

// newSite is a site that listens on the port of localhost, or is listened for by
// something in front. Nothing of it runs yet but its TrueLayer.
func newSite(t *testing.T, port int) *site {
	t.Helper()
	s := &site{url: fmt.Sprintf("http://localhost:%d", port)}
	s.sim = newSimulator(t, s.url+"/truelayer")
	s.bank = serve(t, s.sim)
	return s
}

// caddyfile is a configuration for a Caddy that listens on these addresses.
func (s *site) caddyfile(t *testing.T, addresses, options string) string {
	t.Helper()
	return fmt.Sprintf(`{
	admin off
	persist_config off
	grace_period 1s
	default_bind 127.0.0.1
	storage file_system %s
	log {
		level ERROR
	}
}
%s {
	@account path /account /account/*
	truelayer @account {
		client_id     `+clientID+`
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  %s/truelayer
		auth_server   %s
		%s
	}
	reverse_proxy %s
}
`, t.TempDir(), addresses, s.url, s.bank, options, strings.TrimPrefix(serve(t, application(nil)), "http://"))
}

// run runs a Caddy in this process.
func (s *site) run(t *testing.T, text string) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
}

// proxy forwards each request to a port, and lets the answer be changed.
func proxy(port func(*http.Request) int, change func(*http.Response) error) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port(r.In))})
			r.Out.Host = r.In.Host
		},
		ModifyResponse: change,
	}
}

func portOf(t *testing.T, address string) (port int) {
	t.Helper()
	if _, err := fmt.Sscanf(address, "http://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}
