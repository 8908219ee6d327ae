package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestQuickstart does what the README asks its readers to do.
func TestQuickstart(t *testing.T) {
	site, quickstart := startExample(t, "./examples/quickstart", "-app-port", "0")
	tab := startBrowser(t).tab()

	tab.open(site)
	tab.sees("Get paid to the right account")
	fitsNarrow(t, tab)
	tab.click("My account")
	tab.connects()
	tab.sees("My account")
	equal(t, "the address", tab.address(), site+"/account")
	if got := tab.text("#authorization"); !strings.HasPrefix(got, "Bearer eyJ") {
		t.Errorf("the application got Authorization %q", got)
	}
	verifies(t, tab)
	tab.open(site + "/account")
	tab.click("Let the bank confirm your name")
	tab.sees("What is your name?")
	fitsNarrow(t, tab)
	tab.fill("field0", "John Doe")
	tab.click("Continue")
	equal(t, "the bank's word, for which the application calls nobody", tab.text("#bank code"), "match")
	fitsNarrow(t, tab)
	seesNoToken(t, tab, site)
	tab.click("Sign out")
	tab.sees("You are signed out")

	endsClean(t, quickstart)
	for _, words := range []string{"started a simulation of TrueLayer at", "started the application at", "starting Caddy"} {
		if before, _, _ := strings.Cut(quickstart.written(), "ready: "+site); !strings.Contains(before, words) {
			t.Errorf("before it was ready it wrote\n%s", before)
		}
	}
}

// fitsNarrow looks at the page on a telephone: there is a margin on both sides,
// and nothing to scroll to.
func fitsNarrow(t *testing.T, tab *tab) {
	t.Helper()
	get(tab, "narrowing the window", chromedp.EmulateViewport(320, 640))
	equal(t, "margins on a narrow screen", tab.script(`(() => {
		const box = document.querySelector(".card, main").getBoundingClientRect();
		return [box.left, innerWidth - box.right, document.documentElement.scrollWidth].join(" ");
	})()`), "16 16 320")
	get(tab, "widening the window", chromedp.ResetViewport())
}

// verifies asks whether two people hold the account: one does.
func verifies(t *testing.T, tab *tab) {
	t.Helper()
	for name, verdict := range map[string]string{"John Doe": "Verified", "Jane Carter": "Not verified"} {
		tab.fill("name", name)
		tab.click("Verify")
		tab.text(fmt.Sprintf(`#name[value=%q]`, name)) // the answer to this name
		equal(t, name, tab.text("#result strong"), verdict)
	}
}

// seesNoToken looks at all that the browser holds. The application shows the
// first characters of the token on its page: that one is for people to see.
func seesNoToken(t *testing.T, tab *tab, site string) {
	t.Helper()
	equal(t, "document.cookie", tab.script("document.cookie"), "")
	equal(t, "stored by scripts", tab.script("JSON.stringify([localStorage, sessionStorage])"), "[{},{}]")
	sessions := 0
	for name, cookie := range tab.cookies(site) {
		if !cookie.HTTPOnly || cookie.SameSite != network.CookieSameSiteLax || cookie.Path != "/" {
			t.Errorf("cookie %s: HttpOnly %t, SameSite %q, Path %q", name, cookie.HTTPOnly, cookie.SameSite, cookie.Path)
		}
		if strings.Contains(name, "-login-") {
			continue // the login that is done; sealed
		}
		if strings.HasSuffix(name, "-form") {
			continue // random, for the forms of the module's pages
		}
		sessions++
		// 32 random bytes: no token would fit in
		equal(t, "the length of the session cookie", len(cookie.Value), 43)
	}
	equal(t, "session cookies", sessions, 1)
}
