package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestLogout: only the site itself signs out, and where that leads no request
// decides (CVE-2022-23527 alias GHSA-q6f2-285m-gr53).
func TestLogout(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "logout_redirect /bye" })
	b := w.signedIn()
	cookies := b.cookies(w.Site)

	ask := b.navigate(w.Site + "/truelayer/logout")
	if ask.StatusCode != http.StatusOK || !strings.Contains(ask.body, `<form method="post" action="/truelayer/logout">`) {
		t.Fatalf("%d %s", ask.StatusCode, ask.body)
	}
	equal(t, "still signed in", b.navigate(w.Site+"/").StatusCode, http.StatusOK)

	for name, header := range map[string][]string{
		"another site":           {"Sec-Fetch-Site", "cross-site"},
		"a sibling":              {"Sec-Fetch-Site", "same-site"},
		"another site, old":      {"Origin", "https://evil.example"},
		"a frame, old":           {"Origin", "null"},
		"another port's origin":  {"Origin", "http://localhost:1"},
		"forged, but cross-site": {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
	} {
		equal(t, name, b.do("POST", w.Site+"/truelayer/logout", header...).StatusCode, http.StatusForbidden)
	}
	equal(t, "PUT", b.do("PUT", w.Site+"/truelayer/logout").StatusCode, http.StatusMethodNotAllowed)
	equal(t, "still signed in", b.navigate(w.Site+"/").StatusCode, http.StatusOK)

	out := b.do("POST", w.Site+"/truelayer/logout?return=https://evil.example", "Sec-Fetch-Site", "same-origin", "Origin", w.Site)
	equal(t, "status", out.StatusCode, http.StatusSeeOther)
	equal(t, "Location", out.location(), "/bye")
	equal(t, "cookies left", b.cookies(w.Site), "")
	equal(t, "the next page", b.navigate(w.Site+"/").StatusCode, http.StatusSeeOther)
	replayed := w.browser().do("GET", w.Site+"/", "Cookie", cookies)
	equal(t, "the old cookie", replayed.StatusCode, http.StatusUnauthorized)
}

// TestSignedOut: who signs out of a site that is protected as a whole is told so,
// and not sent to a bank.
func TestSignedOut(t *testing.T) {
	w := startFaulty(t)
	b := w.signedIn()
	out := b.do("POST", w.Site+"/truelayer/logout", "Sec-Fetch-Site", "same-origin")
	equal(t, "status", out.StatusCode, http.StatusSeeOther)
	equal(t, "Location", out.location(), "/truelayer/logout?done")
	equal(t, "Clear-Site-Data", out.Header.Get("Clear-Site-Data"), `"cache"`)
	for range 2 {
		page := b.navigate(w.Site + out.location())
		equal(t, "status of the page", page.StatusCode, http.StatusOK)
		equal(t, "Cache-Control", page.Header.Get("Cache-Control"), "no-store")
		equal(t, "cookies", len(page.Header.Values("Set-Cookie")), 0)
		links := href.FindAllStringSubmatch(page.body, -1)
		if !strings.Contains(page.body, "You are signed out") || strings.Contains(page.body, "<form") || len(links) != 1 || links[0][1] != w.Site+"/truelayer/login" {
			t.Errorf("the page is %s", page.body)
		}
	}
	equal(t, "opened by nobody in particular", w.browser().navigate(w.Site+out.location()).body, b.navigate(w.Site+out.location()).body)
	other := w.signedIn()
	if page := other.navigate(w.Site + out.location()); !strings.Contains(page.body, "Sign out?") {
		t.Errorf("opened by hand, with a session: %s", page.body)
	}
	equal(t, "the session", other.navigate(w.Site+"/").StatusCode, http.StatusOK)
	storeDown.Store(true)
	equal(t, "while the store is down", other.navigate(w.Site+out.location()).StatusCode, http.StatusServiceUnavailable)
	storeDown.Store(false)
}

func TestLogoutWhileTheStoreIsDown(t *testing.T) {
	w := startFaulty(t)
	b := w.signedIn()
	failDeletes.Store(true)
	defer failDeletes.Store(false)
	out := b.do("POST", w.Site+"/truelayer/logout", append([]string{"Sec-Fetch-Site", "same-origin"}, asNavigation...)...)
	equal(t, "status", out.StatusCode, http.StatusServiceUnavailable)
	if !strings.Contains(out.body, "signed out in this browser") {
		t.Error(out.body)
	}
	equal(t, "cookies left", b.cookies(w.Site), "")
}

func TestDisableLogout(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "disable logout" })
	b := w.signedIn()
	equal(t, "goes to the application", b.do("POST", w.Site+"/truelayer/logout").body, "hello")
}

func TestDisconnectOnLogout(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "disconnect_on logout" })
	logout := func(b *browser) {
		t.Helper()
		out := b.do("POST", w.Site+"/truelayer/logout", "Sec-Fetch-Site", "same-origin")
		equal(t, "status", out.StatusCode, http.StatusSeeOther)
	}
	b := w.signedIn()
	b.navigate(w.Site + "/")
	_, got := w.app.requests()
	logout(b)
	waitUntil(t, "the connection to end", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.AuthServer+"/data/v1/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", got.Header.Get("Authorization"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusUnauthorized
	})

	hold := make(chan struct{})
	defer close(hold)
	w.sim.Fail(simulator.Delete, simulator.Fault{Hold: hold})
	slow := w.signedIn()
	logout(slow)
	equal(t, "signed out while the provider hangs", slow.navigate(w.Site+"/").StatusCode, http.StatusSeeOther)
}

func TestSessionEndpoint(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "scopes info accounts" })
	b := w.browser()
	info := w.info(b)
	equal(t, "connected", info["connected"], any(false))
	equal(t, "login_url", info["login_url"], any(w.Site+"/truelayer/login"))
	b = w.signedIn()
	a := b.fetch(w.Site + "/truelayer/session")
	equal(t, "Cache-Control", a.Header.Get("Cache-Control"), "no-store")
	if strings.Contains(a.body, "eyJ") {
		t.Error("a token is in it")
	}
	info = w.info(b)
	equal(t, "connected", info["connected"], any(true))
	equal(t, "provider", info["provider"], any("mock"))
	equal(t, "logout_url", info["logout_url"], any(w.Site+"/truelayer/logout"))
	if in, _ := info["token_expires_in"].(float64); in < 3500 || in > 3600 {
		t.Errorf("token_expires_in is %v", info["token_expires_in"])
	}
	if in, _ := info["consent_expires_in"].(float64); in < 89*86400 || in > 91*86400 {
		t.Errorf("consent_expires_in is %v", info["consent_expires_in"])
	}
	off := start(t, plain, func(w *world) { w.Options = "disable session" })
	equal(t, "left to the application", off.browser().fetch(off.Site+"/truelayer/session").StatusCode, http.StatusUnauthorized)
}
