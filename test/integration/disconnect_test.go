package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestDisconnect: who disconnects is signed out, and told the truth about the connection at
// TrueLayer. The page can be read again, and does nothing.
func TestDisconnect(t *testing.T) {
	for name, test := range map[string]struct {
		prepare      func(w *world)
		result, want string
		withdraw     bool
	}{
		"TrueLayer is there":      {func(*world) {}, "ended", "TrueLayer, the service that connects banks, has ended it", false},
		"the token has expired":   {func(*world) {}, "ended", "has ended it", false},
		"TrueLayer fails":         {func(w *world) { w.sim.Fail(simulator.Delete, simulator.Fault{Status: 500}) }, "left", "did not confirm that it has ended it", true},
		"TrueLayer does not know": {func(w *world) { w.sim.Fail(simulator.Delete, simulator.Fault{Status: 401}) }, "ended", "has ended it", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := startRenewing(t, "")
			test.prepare(w)
			signedIn := w.signedIn
			if name == "the token has expired" {
				signedIn = w.signedInExpired
			}
			b := signedIn()
			old := b.cookies(w.Site)
			out := w.press(t, b, disconnectPath)
			equal(t, "status", out.StatusCode, http.StatusSeeOther)
			equal(t, "Location", out.location(), disconnectPath+"?"+test.result)
			equal(t, "Clear-Site-Data", out.Header.Get("Clear-Site-Data"), `"cache"`)
			equal(t, "cookies left", b.cookies(w.Site), "")
			equal(t, "the old cookie", w.browser().do("GET", w.Site+"/page", "Cookie", old).StatusCode, http.StatusUnauthorized)
			calls := w.sim.Calls(simulator.Delete)
			for range 2 {
				page := b.navigate(w.Site + out.location())
				equal(t, "status of the page", page.StatusCode, http.StatusOK)
				equal(t, "withdraw", strings.Contains(page.body, "list of services that have access"), test.withdraw)
				if !strings.Contains(page.body, test.want) || strings.Contains(page.body, "<form") {
					t.Error(page.body)
				}
			}
			equal(t, "calls", w.sim.Calls(simulator.Delete), calls)
			want := []string{"login", "logout", "disconnected"}
			if test.withdraw {
				want = want[:2]
			}
			equal(t, "the trail", strings.Join(w.events(), " "), strings.Join(want, " "))
		})
	}
}

// TestDisconnectOfNobody: where there is no session any more, nothing is claimed.
func TestDisconnectOfNobody(t *testing.T) {
	w := startRenewing(t, "")
	out := w.press(t, w.browser(), disconnectPath)
	equal(t, "Location", out.location(), disconnectPath+"?none")
	page := w.browser().navigate(w.Site + out.location())
	if !strings.Contains(page.body, "could therefore not ask TrueLayer") || !strings.Contains(page.body, "list of services that have access") {
		t.Error(page.body)
	}
	b := w.signedIn()
	for _, query := range []string{"ended", "left", "none"} {
		equal(t, query+" of who is connected", b.navigate(w.Site+disconnectPath+"?"+query).location(), connectionPath)
	}
	for _, query := range []string{"", "?other", "?ended&more", "?%3Cscript%3E"} {
		equal(t, query, w.browser().navigate(w.Site+disconnectPath+query).location(), connectionPath)
	}
	equal(t, "calls", w.sim.Calls(simulator.Delete), 0)
}

// TestButtonsOfAnOldPage: the buttons of a page about a session that has ended meanwhile do
// nothing to the one that has taken its place.
func TestButtonsOfAnOldPage(t *testing.T) {
	w := startRenewing(t, "")
	b := w.signedIn()
	page := b.navigate(w.Site + connectionPath).body
	_, rest, _ := strings.Cut(page, `name="session" value="`)
	shown, _, _ := strings.Cut(rest, `"`)
	w.press(t, b, "/truelayer/logout") // in another tab
	w.login(b, w.Site+"/page")
	equal(t, "forms that name the session", strings.Count(page, `name="session" value="`+shown+`"`), 2)
	for _, button := range []string{renewPath, disconnectPath} {
		for _, session := range []string{shown, "x"} {
			out, err := b.post(w.Site+button, url.Values{"session": {session}})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, button, out.location(), connectionPath)
		}
	}
	equal(t, "links", w.sim.Calls(simulator.ReauthURI), 0)
	equal(t, "status", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
}

// TestDisconnectWhileTheStoreIsDown: the browser forgets the session, and its visitor reads
// that it may last, and how to withdraw at the bank.
func TestDisconnectWhileTheStoreIsDown(t *testing.T) {
	w := startFaulty(t)
	b := w.signedIn()
	failDeletes.Store(true)
	defer failDeletes.Store(false)
	out := w.press(t, b, disconnectPath)
	equal(t, "status", out.StatusCode, http.StatusServiceUnavailable)
	if !strings.Contains(out.body, "logout_incomplete") || !strings.Contains(out.body, "list of services that have access") {
		t.Error(out.body)
	}
	equal(t, "cookies left", b.cookies(w.Site), "")
	equal(t, "calls", w.sim.Calls(simulator.Delete), 1)
}

// TestDisconnectOnReplace: a new login that replaces a session ends the old connection at
// TrueLayer only if both tokens name theirs and they differ.
func TestDisconnectOnReplace(t *testing.T) {
	token := func(claims string) string { return "{" + claims + `"connector_id":"mock"}` }
	for name, test := range map[string]struct {
		old, fresh string
		calls      int
	}{
		"another":             {`"sub":"one",`, `"sub":"two",`, 1},
		"the same":            {`"sub":"one",`, `"sub":"one",`, 0},
		"the old one unknown": {"", `"sub":"two",`, 0},
		"the new one unknown": {`"sub":"one",`, "", 0},
		"both unknown":        {"", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := startAudited(t, "disconnect_on replace", "")
			w.sim.Fail(simulator.Delete, simulator.Fault{Status: http.StatusOK})
			b := w.browser()
			w.answersOnce(token(test.old), `,"expires_in":3600`)
			w.login(b, w.Site+"/")
			w.answersOnce(token(test.fresh), `,"expires_in":3600`)
			again := w.press(t, b, renewPath) // without a refresh token this is the auth link
			callback, err := w.sim.Grant(again.location())
			if err != nil {
				t.Fatal(err)
			}
			b.navigate(callback)
			equal(t, "replaced", w.line(t, "session_replaced")["event"], any("session_replaced"))
			if test.calls > 0 {
				waitUntil(t, "the end", func() bool { return w.lastLine()["event"] == "disconnected" })
			}
			equal(t, "calls", w.sim.Calls(simulator.Delete), test.calls)
		})
	}
}
