package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestMisplacedCallback: a callback that arrives at another path than the redirect
// URI's, because something in front has changed it, is told of. Its code goes
// neither to the application nor into a return target, on protected paths and
// others, with a session and without. Elsewhere it led to bank logins without end
// (oauth2-proxy #1826, #1843).
func TestMisplacedCallback(t *testing.T) {
	for name, options := range map[string]string{"pages of the module": "", "pages of the site": "disable_error_pages"} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) {
				w.Options, w.Before, w.Matcher = options, "@private not path /public/*", "@private"
			})
			misplaced := func(what string, b *browser, target string) {
				t.Helper()
				since := w.log.mark(t)
				before, _ := w.app.requests()
				a := b.navigate(target)
				equal(t, what+": status", a.StatusCode, http.StatusBadRequest)
				equal(t, what+": Referrer-Policy", a.Header.Get("Referrer-Policy"), "no-referrer")
				u, err := url.Parse(target)
				if err != nil {
					t.Fatal(err)
				}
				for _, text := range []string{"callback_misplaced", "/truelayer and arrived at " + u.Path + "."} {
					if !strings.Contains(a.body, text) {
						t.Errorf("%s: the page does not say %q: %s", what, text, a.body)
					}
				}
				for _, secret := range append(u.Query()["code"], u.Query()["state"]...) {
					if strings.TrimSpace(secret) != "" && strings.Contains(a.body, secret) {
						t.Errorf("%s: the page repeats the address", what)
					}
				}
				after, _ := w.app.requests()
				equal(t, what+": requests upstream", after-before, 0)
				lines := diagnostics(since())
				const reason = `"reason":"callback_misplaced"`
				w.oneLine(t, strings.Count(lines, reason), reason)
				if strings.Contains(lines, reason) && !strings.Contains(lines, `arrived at the path \"`+u.Path+`\" instead of \"/truelayer\"`) {
					t.Errorf("%s: the log does not name both paths: %s", what, lines)
				}
			}
			move := func(callback, path string) string {
				return strings.Replace(callback, w.Site+"/truelayer?", w.Site+path+"?", 1)
			}
			for _, path := range []string{"/truelayer/", "/app/truelayer", "/public/truelayer"} {
				b := w.browser()
				callback := w.approve(b, w.Site+"/page")
				misplaced(path, b, move(callback, path))
				state := query(t, callback).Get("state")
				misplaced(path+", an error", b, w.Site+path+"?error=access_denied&state="+state)
				for _, query := range []string{
					"x=y&state=%20&state=" + state + "&code=the-code", "code=the-code&state=" + state + "&x=%zz", "code=the-code&state=" + state + ";x=y",
					"code=the-code&x=" + strings.Repeat("x", 9000) + "&state=" + state,
				} {
					misplaced(path+"?"+query[:10], b, w.Site+path+"?"+query)
				}
				equal(t, path+": at its place", b.navigate(callback).location(), "/page")
				other := w.browser()
				callback = w.approve(other, w.Site+"/page")
				w.login(other, w.Site+"/truelayer/login") // in another tab
				misplaced(path+", with a session", other, move(callback, path))
			}

			// an application has callbacks of its own
			b := w.signedIn()
			for _, target := range []string{"/app/oauth?code=x&state=y", "/public/oauth?code=x&state=y", "/app/oauth?error=x&state=y", "/app?state=y"} {
				equal(t, target, b.navigate(w.Site+target).StatusCode, http.StatusOK)
				_, r := w.app.requests()
				equal(t, "what the application got", r.RequestURI, target)
			}
		})
	}
}

// TestCallbackOfWhoGaveUp: without a cancellation URI a visitor who cancels may
// come back with nothing, or with the state only. Anybody can send that, so that
// the login lasts.
func TestCallbackOfWhoGaveUp(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page?x=y")
	state := query(t, callback).Get("state")
	for _, query := range []string{"", "?", "?state=" + state, "?scope=verification", "?state=" + state + "&scope=", "?code=&error=", "?code="} {
		a := b.navigate(w.Site + "/truelayer" + query)
		equal(t, query+": status", a.StatusCode, http.StatusForbidden)
		if !strings.Contains(a.body, "access_denied") || !strings.Contains(a.body, "/truelayer/login?return=%2Fpage%3Fx%3Dy") {
			t.Errorf("%q: no way to start again: %s", query, a.body)
		}
		equal(t, query+": cookies", len(a.Header.Values("Set-Cookie")), 0)
	}
	if !strings.Contains(w.log.text(t), "cancellation URI") {
		t.Error("the log has no remedy")
	}
	second := w.approve(b, w.Site+"/other")
	for query, back := range map[string]string{
		"": "/truelayer/login\"", "?state=" + state: "return=%2Fpage", "?state=" + query(t, second).Get("state"): "return=%2Fother",
	} {
		a := b.navigate(w.Site + "/truelayer" + query)
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, back) {
			t.Errorf("two logins, %q: %d %s", query, a.StatusCode, a.body)
		}
	}
	for name, a := range map[string]*answer{
		"somebody else":            w.browser().navigate(w.Site + "/truelayer"),
		"somebody else's state":    w.browser().navigate(w.Site + "/truelayer?state=" + state),
		"a state of nobody":        b.navigate(w.Site + "/truelayer?state=x"),
		"a parameter twice":        b.navigate(w.Site + "/truelayer?state=x&state=" + state),
		"both a code and an error": b.navigate(w.Site + "/truelayer?code=x&error=y&state=" + state),
	} {
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "callback_malformed") {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	equal(t, "the login goes on", b.navigate(callback).location(), "/page?x=y")
	equal(t, "the other one too", b.navigate(second).location(), "/other")
	equal(t, "the state of one that is done", b.navigate(w.Site+"/truelayer?state="+state).location(), "/page?x=y")
	equal(t, "with no login under way", b.navigate(w.Site+"/truelayer").StatusCode, http.StatusBadRequest)
}
