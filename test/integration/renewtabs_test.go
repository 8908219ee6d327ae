package integration

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestRenewInTwoTabs: both tabs come back to a session, and repeating either does no harm.
func TestRenewInTwoTabs(t *testing.T) {
	w := startRenewing(t, "")
	b := w.signedIn()
	one, two := w.toBank(t, b, "Referer", w.Site+"/one"), w.toBank(t, b, "Referer", w.Site+"/two")
	first, second := w.renewed(t, one), w.renewed(t, two)
	for callback, want := range map[string]string{first: "/one", second: "/two"} {
		equal(t, "back", b.navigate(callback).location(), want)
		equal(t, "signed in", b.navigate(w.Site+"/page").body, "hello")
		equal(t, "repeated", b.navigate(callback).location(), want)
		equal(t, "still signed in", b.navigate(w.Site+"/page").body, "hello")
	}
}

// TestRenewInTwoTabsLeavesNothing: the second renewal replaces what the first has begun. A
// visitor who signs out has no session left, with whichever cookie.
func TestRenewInTwoTabsLeavesNothing(t *testing.T) {
	for _, test := range []struct {
		other    bool
		relation string
		calls    int
	}{{false, "same", 0}, {true, "another", 2}} {
		w := startRenewing(t, "store storage\ndisconnect_on replace")
		b := w.signedIn()
		one, two := w.toBank(t, b), w.toBank(t, b)
		w.sim.Set(func(s *simulator.Settings) { s.ReauthOther = test.other })
		first, second := w.renewed(t, one), w.renewed(t, two)
		b.navigate(first)
		between := b.cookies(w.Site)
		b.navigate(second)
		equal(t, "signed in", b.navigate(w.Site+"/page").body, "hello")
		equal(t, "the first's cookie", w.browser().do("GET", w.Site+"/page", "Cookie", between).StatusCode, http.StatusUnauthorized)
		equal(t, "sessions", w.storedKinds()['s'], 1)
		equal(t, "the relation", w.line(t, "login")["renews_connection"], any(test.relation))
		waitUntil(t, "the ends", func() bool { return w.sim.Calls(simulator.Delete) == test.calls })
		w.press(t, b, "/truelayer/logout")
		equal(t, "sessions after the logout", w.storedKinds()['s'], 0)
	}
}

// TestRenewEndsOneConnection: a renewal discards all that its browser has, and ends no other
// connection at TrueLayer than the one that it renews.
func TestRenewEndsOneConnection(t *testing.T) {
	w := startRenewing(t, "store storage\ndisconnect_on replace")
	b, planted := w.signedIn(), w.signedIn()
	link := w.toBank(t, b)
	renewed := w.trail()[0]
	w.sim.Set(func(s *simulator.Settings) { s.ReauthOther = true })
	both := planted.cookies(w.Site) + "; " + b.cookies(w.Site)
	w.browser().do(http.MethodGet, w.renewed(t, link), append([]string{"Cookie", both}, asNavigation...)...)
	equal(t, "sessions", w.storedKinds()['s'], 1)
	waitUntil(t, "the end", func() bool { return slices.Contains(w.events(), "disconnected") })
	equal(t, "disconnected", w.line(t, "disconnected")["session"], renewed["session"])
	equal(t, "calls", w.sim.Calls(simulator.Delete), 1)
}

// startNaming starts a site that asks banks about names, and signs a visitor in who has given
// one.
func startNaming(t *testing.T) (*world, *browser) {
	t.Helper()
	w := start(t, audited, func(w *world) {
		w.secrets.add("John Doe")
		w.Options = "scopes verification offline_access\nverify_name {\napi " + w.AuthServer + "\n}"
		w.After = `request_header X-Verification "{http.truelayer.verification}:{http.truelayer.claimed_name}"`
	})
	b := w.signedIn()
	at := w.Site + "/truelayer/name?return=/page"
	page := b.navigate(at)
	if _, err := b.post(at, url.Values{"token": tokenField.FindStringSubmatch(page.body)[1:], "name": {"John Doe"}}); err != nil {
		t.Fatal(err)
	}
	_, told := w.named(b, "")
	equal(t, "before", told, "match:John Doe")
	return w, b
}

// TestRenewKeepsTheName: the name that a visitor has given goes on with the same connection,
// for which the bank is asked again. Somebody else's connection knows nothing of it.
func TestRenewKeepsTheName(t *testing.T) {
	for other, want := range map[bool]string{false: "match:John Doe", true: "not_asked:"} {
		w, b := startNaming(t)
		asked := w.sim.Calls(simulator.Verify)
		w.sim.Set(func(s *simulator.Settings) { s.ReauthOther = other })
		b.navigate(w.renewed(t, w.toBank(t, b)))
		_, told := w.named(b, "")
		equal(t, "afterwards", told, want)
		equal(t, "the bank is asked again", w.sim.Calls(simulator.Verify) > asked, !other)
	}
}

// TestRenewInTwoTabsKeepsTheName: it goes on with the second renewal, too.
func TestRenewInTwoTabsKeepsTheName(t *testing.T) {
	w, b := startNaming(t)
	one, two := w.toBank(t, b), w.toBank(t, b)
	for _, callback := range []string{w.renewed(t, one), w.renewed(t, two)} {
		b.navigate(callback)
		_, told := w.named(b, "")
		equal(t, "afterwards", told, "match:John Doe")
	}
}
