package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const connectionPath, renewPath, disconnectPath = "/truelayer/connection", "/truelayer/renew", "/truelayer/disconnect"

// startRenewing starts a site whose visitors are offered to renew their consent.
func startRenewing(t *testing.T, options string) *world {
	t.Helper()
	w := startAudited(t, options, "")
	w.sim.Set(func(s *simulator.Settings) { s.ConsentLifetime = 3 * 24 * time.Hour })
	return w
}

// press presses a button of a page of the site.
func (w *world) press(t *testing.T, b *browser, path string, header ...string) *answer {
	t.Helper()
	a, err := b.post(w.Site+path, nil, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestConnectionPage: the page says which bank shares what, since when and until when, and
// has the buttons that there are. It is for its visitor only, and looking at it is no use.
func TestConnectionPage(t *testing.T) {
	w := startRenewing(t, "allow_origins https://friend.example")
	b := w.signedIn()
	page := b.do(http.MethodGet, w.Site+connectionPath, append([]string{"Origin", "https://friend.example"}, asNavigation...)...)
	equal(t, "status", page.StatusCode, http.StatusOK)
	until := time.Now().Add(3 * 24 * time.Hour).UTC()
	for _, want := range []string{
		"localhost is connected to your bank", "<p>Mock", "The names of the accounts&#39; holders", "even when you are not using this site",
		`<time datetime="` + until.Format("2006-01-02T15:"), until.Format("2 January 2006") + ", ", ":", " UTC</time>",
		`<form method="post" action="/truelayer/renew">`, `<form method="post" action="/truelayer/disconnect">`, `<form method="post" action="/truelayer/logout">`,
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Count(page.body, "<time ") != 3 {
		t.Error(page.body)
	}
	for field, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "Access-Control-Allow-Origin": "", "X-Content-Type-Options": "nosniff",
	} {
		equal(t, field, page.Header.Get(field), want)
	}
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Error(policy)
	}
	head := b.do(http.MethodHead, w.Site+connectionPath, asNavigation...)
	equal(t, "HEAD", head.StatusCode, http.StatusOK)
	equal(t, "POST", w.press(t, b, connectionPath).StatusCode, http.StatusMethodNotAllowed)

	if strings.Contains(page.body, "and with it the connection") {
		t.Error("signing out is said to end the connection")
	}

	info := w.info(b)
	equal(t, "connection_url", info["connection_url"], any(w.Site+connectionPath))
	equal(t, "renew_url", info["renew_url"], any(w.Site+renewPath))
}

// TestConnectionPageBeforeALogoutThatEnds: the page says what signing out does.
func TestConnectionPageBeforeALogoutThatEnds(t *testing.T) {
	w := startRenewing(t, "disconnect_on logout")
	if page := w.signedIn().navigate(w.Site + connectionPath); !strings.Contains(page.body, "and with it the connection: your bank no longer shares") {
		t.Error(page.body)
	}
}

// TestConnectionPageOfNobody: who has no connection is told so and why, is sent to no bank,
// and finds the way to connect one. A machine gets a problem.
func TestConnectionPageOfNobody(t *testing.T) {
	w := startRenewing(t, "")
	says := func(name string, b *browser, want string) {
		t.Helper()
		page := b.navigate(w.Site + connectionPath)
		equal(t, name, page.StatusCode, http.StatusOK)
		if !strings.Contains(page.body, want) || !strings.Contains(page.body, w.Site+"/truelayer/login?return=%2Ftruelayer%2Fconnection") || strings.Contains(page.body, "<form") {
			t.Errorf("%s: %s", name, page.body)
		}
		equal(t, name+": Cache-Control", page.Header.Get("Cache-Control"), "no-store")
		machine := b.fetch(w.Site + connectionPath)
		equal(t, name+", a machine", machine.StatusCode, http.StatusUnauthorized)
		equal(t, name+", a machine", machine.problem(t)["reason"], any("login_required"))
	}
	says("nobody", w.browser(), "No bank is connected")
	says("an unknown cookie", w.browser(), "No bank is connected")
	b := w.signedInExpired()
	w.sim.RevokeConsents()
	waitUntil(t, "the end", func() bool { return b.navigate(w.Site+"/page").StatusCode == http.StatusUnauthorized })
	says("a consent that is over", b, "Your bank connection has ended")
	back := w.login(w.browser(), w.Site+"/truelayer/login?return=%2Ftruelayer%2Fconnection")
	equal(t, "after the login", back.location(), connectionPath)

	other := w.browser().navigate(strings.Replace(w.Site, "localhost", "127.0.0.1", 1) + connectionPath)
	if other.StatusCode == http.StatusSeeOther { // the site answers on that host, too
		equal(t, "on another host", other.location(), w.Site+connectionPath+"?moved=1")
	}
}

// TestConnectionPlaceholders: the application is told where the page is, and where to renew
// as soon as that is offered.
func TestConnectionPlaceholders(t *testing.T) {
	fields := "reverse_proxy {{.App}} {\nheader_up X-Page {http.truelayer.connection_url}\nheader_up X-Renew {http.truelayer.renew_url}\n}\n"
	for name, test := range map[string]struct {
		options, page, renew string
		consent              time.Duration
	}{
		"by now":           {"", connectionPath, renewPath, 3 * 24 * time.Hour},
		"not yet":          {"", connectionPath, "", 90 * 24 * time.Hour},
		"asked for":        {"renew_before 100d\nmax_lifetime 90d", connectionPath, renewPath, 90 * 24 * time.Hour},
		"not asked for":    {"renew_before 1d", connectionPath, "", 3 * 24 * time.Hour},
		"the site's own":   {"disable connection", "", "", 3 * 24 * time.Hour},
		"without a logout": {"disable logout", connectionPath, renewPath, 3 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, strings.Replace(plain, "{{.After}}", fields, 1), func(w *world) { w.Options = "scopes verification offline_access\n" + test.options })
			w.sim.Set(func(s *simulator.Settings) { s.ConsentLifetime = test.consent })
			b := w.signedIn()
			b.navigate(w.Site + "/page")
			_, got := w.app.requests()
			for field, path := range map[string]string{"X-Page": test.page, "X-Renew": test.renew} {
				if path != "" {
					path = w.Site + path
				}
				equal(t, field, got.Header.Get(field), path)
			}
			info := w.info(b)
			for field, path := range map[string]string{"connection_url": test.page, "renew_url": test.renew} {
				if value, has := info[field]; has != (path != "") || has && value != w.Site+path {
					t.Errorf("%s is %v", field, value)
				}
			}
			if test.page == "" {
				return
			}
			page := b.navigate(w.Site + connectionPath).body
			equal(t, "a button that renews", strings.Contains(page, renewPath), test.renew != "")
			equal(t, "a button that signs out", strings.Contains(page, "/truelayer/logout"), test.options != "disable logout")
		})
	}
}

// TestDisableConnection: with the option the addresses are the application's.
func TestDisableConnection(t *testing.T) {
	w := startRenewing(t, "disable connection")
	b := w.signedIn()
	for _, path := range []string{connectionPath, renewPath, disconnectPath} {
		equal(t, "GET "+path, b.navigate(w.Site+path).body, "hello")
		equal(t, "POST "+path, w.press(t, b, path).body, "hello")
	}
	equal(t, "still signed in", b.navigate(w.Site+"/page").body, "hello")
}

// TestConnectionPageWhileTheStoreIsDown: nobody is told that there is no connection.
func TestConnectionPageWhileTheStoreIsDown(t *testing.T) {
	w := startFaulty(t)
	b := w.signedIn()
	storeDown.Store(true)
	defer storeDown.Store(false)
	for path, do := range map[string]func() *answer{
		connectionPath:                 func() *answer { return b.navigate(w.Site + connectionPath) },
		renewPath:                      func() *answer { return w.press(t, b, renewPath) },
		disconnectPath + "?" + "ended": func() *answer { return b.navigate(w.Site + disconnectPath + "?ended") },
	} {
		equal(t, path, do().StatusCode, http.StatusServiceUnavailable)
	}
}
