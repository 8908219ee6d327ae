package integration

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestRequire: what a session has is enough or not, whatever an application makes of the
// address, and nothing goes on without a truelayer block.
func TestRequire(t *testing.T) {
	for name, test := range map[string]struct {
		require string
		status  int
		reason  string
	}{
		"scopes":           {"scopes verification", http.StatusOK, ""},
		"a missing scope":  {"scopes verification accounts", http.StatusForbidden, "scope_missing"},
		"the bank":         {"providers ob-harbour mock", http.StatusOK, ""},
		"another bank":     {"providers ob-harbour", http.StatusForbidden, "provider_refused"},
		"no verified name": {"verified_name", http.StatusForbidden, "name_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.After = "truelayer_require /sure* {\n" + test.require + "\n}" })
			b := w.signedIn()
			for _, path := range []string{"/sure", "/sure/x", "//sure", "/x/../sure", "/%73ure", "/SURE"} {
				a := b.navigate(w.Site + path)
				if a.StatusCode != test.status || !strings.Contains(a.body, test.reason) {
					t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
				}
			}
			equal(t, "elsewhere", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
			if a := w.browser().navigate(w.Site + "/sure"); !strings.HasPrefix(a.location(), w.AuthServer+"/?") {
				t.Errorf("a stranger: %d %s", a.StatusCode, a.location())
			}
		})
	}
	w := start(t, plain, func(w *world) {
		w.Matcher, w.After = "/private*", "truelayer_require /sure* {\nscopes verification\n}"
	})
	b := w.browser()
	w.login(b, w.Site+"/private")
	for who, b := range map[string]*browser{"a stranger": w.browser(), "a visitor": b} {
		equal(t, "a page that no block protects, "+who, b.navigate(w.Site+"/sure").StatusCode, http.StatusForbidden)
	}
	alone := start(t, strings.Replace(plain, "http://localhost:{{.Port}} {", "http://localhost:{{.Port2}} {\ntruelayer_require {\nscopes verification\n}\nreverse_proxy {{.App}}\n}\nhttp://localhost:{{.Port}} {", 1), nil)
	a := alone.browser().navigate(fmt.Sprintf("http://localhost:%d/", alone.Port2))
	equal(t, "without a truelayer block", a.StatusCode, http.StatusForbidden)
	if !strings.Contains(alone.log.text(t), "put a truelayer block that protects it before truelayer_require") {
		t.Error("the log does not say so")
	}
}

// TestRequireMistakes: what loads, and lets nobody in, is told of.
func TestRequireMistakes(t *testing.T) {
	for require, want := range map[string]string{
		"scopes verification,accounts": "truelayer_require: scopes has a comma",
		"scopes verify":                `truelayer_require: scope \"verify\" is not in TrueLayer's documentation`,
		"providers mock,ob-monzo":      "truelayer_require: providers has a comma",
		"verified_name":                "add verify_name to that block",
	} {
		w := start(t, plain, func(w *world) { w.After = "truelayer_require {\n" + require + "\n}" })
		b := w.browser()
		w.login(b, w.Site+"/page")
		equal(t, require, b.navigate(w.Site+"/page").StatusCode, http.StatusForbidden)
		if !strings.Contains(w.log.text(t), want) {
			t.Errorf("%s: the log says nothing", require)
		}
	}
}

var stepUp = regexp.MustCompile(`href="(http://localhost:\d+/truelayer/login\?[^"]*rule=[0-9a-f]{16}[^"]*)"`)

// TestStepUp: a page that needs more scopes leads to a login for them and back. The session
// goes on until the new one is there, and a link can name nothing but a rule.
func TestStepUp(t *testing.T) {
	w := start(t, audited, func(w *world) {
		w.Options = "scopes verification"
		w.After = "truelayer_require /more* {\nscopes verification accounts\n}"
	})
	b := w.signedIn()
	refused := b.navigate(w.Site + "/more?a=b")
	link := stepUp.FindStringSubmatch(refused.body)
	if refused.StatusCode != http.StatusForbidden || link == nil {
		t.Fatalf("%d %s", refused.StatusCode, refused.body)
	}
	target := html.UnescapeString(link[1])
	if got := b.fetch(w.Site + "/more?a=b").problem(t); got["login_url"] != target || got["reason"] != "scope_missing" {
		t.Errorf("%v", got)
	}
	sent := b.navigate(target)
	asked, err := url.Parse(sent.location())
	if err != nil || asked.Query().Get("scope") != "verification accounts" || asked.Query().Get("provider_id") != "mock" {
		t.Fatalf("%d %s", sent.StatusCode, sent.location())
	}
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "meanwhile", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "then", b.navigate(callback).location(), "/more?a=b")
	equal(t, "the page", b.navigate(w.Site+"/more?a=b").StatusCode, http.StatusOK)
	equal(t, "again", b.navigate(target).location(), "/more?a=b")
	if events := fmt.Sprint(w.events()); events != "[login login session_replaced]" {
		t.Error(events)
	}
	for _, made := range []string{"0123456789abcdef", "", "accounts", "verification+accounts+info"} {
		equal(t, "a rule that there is not: "+made, b.navigate(w.Site+"/truelayer/login?rule="+made+"&return=/page").location(), "/page")
	}
	stranger := w.picked(t, w.browser(), strings.TrimPrefix(target, w.Site))
	equal(t, "somebody without a session is asked for", stranger.Get("scope"), "verification")
}

// TestRefusalsReplaceNothing: what truelayer_require answers is not taken for an answer of
// the application that has lost a header field.
func TestRefusalsReplaceNothing(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "scopes verification\nverify_name {\napi " + w.AuthServer + "\n}"
		w.After = "truelayer_require /more* {\nscopes accounts\n}\ntruelayer_require /pay* {\nverified_name\n}"
	})
	b := w.signedIn()
	for path, status := range map[string]int{"/more": http.StatusForbidden, "/pay": http.StatusSeeOther, "/page": http.StatusOK} {
		equal(t, path, b.navigate(w.Site+path).StatusCode, status)
	}
	equal(t, "as JSON", b.fetch(w.Site+"/pay").StatusCode, http.StatusForbidden)
	equal(t, "warnings", strings.Count(w.log.text(t), "has replaced a header field"), 0)
}

// TestStepUpForTwoRules: where two rules meet, each login keeps what the other has brought.
func TestStepUpForTwoRules(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "scopes verification"
		w.After = "truelayer_require /x* {\nscopes accounts\n}\ntruelayer_require /x/y* {\nscopes info\n}"
	})
	b := w.signedIn()
	for _, scopes := range []string{"verification accounts", "verification info accounts"} {
		link := stepUp.FindStringSubmatch(b.navigate(w.Site + "/x/y").body)
		if link == nil {
			t.Fatal("there is no way to share more")
		}
		sent := b.navigate(html.UnescapeString(link[1])).location()
		asked, err := url.Parse(sent)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "scopes", asked.Query().Get("scope"), scopes)
		callback, err := w.sim.Grant(sent)
		if err != nil {
			t.Fatal(err)
		}
		b.navigate(callback)
	}
	equal(t, "then", b.navigate(w.Site+"/x/y").StatusCode, http.StatusOK)
}

// TestFormWithoutName: a form that comes without a name is told that it was not saved, and
// where to give the name; so is a machine.
func TestFormWithoutName(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "scopes verification\nverify_name {\napi " + w.AuthServer + "\n}"
		w.After = "truelayer_require /pay {\nverified_name\n}"
	})
	b := w.signedIn()
	a, err := b.post(w.Site+"/pay", url.Values{"amount": {"5"}}, "Referer", w.Site+"/form")
	if err != nil {
		t.Fatal(err)
	}
	if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, `"/truelayer/name?return=%2Fform"`) || !strings.Contains(a.body, pages.English().Say("form_not_saved")) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	equal(t, "login_url", b.fetch(w.Site + "/pay").problem(t)["login_url"], any(w.Site+"/truelayer/name?return=%2Fpay"))
}

// TestStepUpInVain: who comes back without the scopes gets the page again, and no loop.
func TestStepUpInVain(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "scopes verification"
		w.After = "truelayer_require {\nscopes accounts\n}"
	})
	b := w.signedIn()
	target := html.UnescapeString(stepUp.FindStringSubmatch(b.navigate(w.Site + "/more").body)[1])
	callback, err := simulator.Approve(t.Context(), nil, b.navigate(target).location(), simulator.CancelAt("consent"))
	if err != nil {
		t.Fatal(err)
	}
	if a := b.navigate(callback); !strings.Contains(a.body, "access_denied") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := b.navigate(w.Site + "/more"); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "scope_missing") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusOK, ContentType: "application/json", Body: `{"access_token":"narrow","expires_in":3600,"token_type":"Bearer","scope":"verification"}`})
	callback, err = w.sim.Grant(b.navigate(target).location())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "then", b.navigate(callback).location(), "/more")
	equal(t, "the page", b.navigate(w.Site+"/more").StatusCode, http.StatusForbidden)

	// an answer that names no scope has granted what was asked for
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusOK, ContentType: "application/json", Body: `{"access_token":"silent","expires_in":3600,"token_type":"Bearer"}`})
	target = html.UnescapeString(stepUp.FindStringSubmatch(b.navigate(w.Site + "/more").body)[1])
	sent := b.navigate(target).location()
	callback, err = w.sim.Grant(sent)
	if err != nil {
		t.Fatal(sent, err)
	}
	equal(t, "then", b.navigate(callback).location(), "/more")
	equal(t, "the page", b.navigate(w.Site+"/more").StatusCode, http.StatusOK)
}
