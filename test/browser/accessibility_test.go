package browser

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// picture stands for the logos of a site and of banks.
const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"><rect width="60" height="40" fill="#0b6e4f"/></svg>`

// TestAccessibility looks at every page that a person sees, the simulated bank's among
// them, as people with different eyes, screens and hands do.
func TestAccessibility(t *testing.T) {
	axe := readAxe(t)
	tab := startBrowser(t).tab()
	everyPage(t, tab, func(name string) {
		say := func(how string, problems []string) {
			t.Helper()
			for _, problem := range problems {
				t.Errorf("%s, %s: %s", name, how, problem)
			}
		}
		say("when it opens", list(tab, afterOpening))
		for _, scheme := range []string{"light", "dark"} {
			tab.emulate("prefers-color-scheme", scheme)
			say(scheme, list(tab, axe+runAxe))
		}
		for _, screen := range []struct{ width, height int64 }{{320, 256}, {640, 512}} { // of 1280 by 1024, at 400 % and 200 %
			get(tab, "zooming", chromedp.EmulateViewport(screen.width, screen.height))
			say(fmt.Sprintf("%d pixels wide", screen.width), list(tab, fits))
		}
		get(tab, "zooming out", chromedp.ResetViewport())
		say("by keyboard", tab.tabs(false))
		tab.emulate("forced-colors", "active")
		say("in forced colors", append(list(tab, borders), tab.tabs(true)...))
		tab.emulate("forced-colors", "none")
	})
}

// everyPage opens all samples in all languages, with the header fields that the module
// sends, and then goes through the simulated bank's dialog.
func everyPage(t *testing.T, tab *tab, look func(name string)) {
	t.Helper()
	mux, names := samples(t)
	address := serve(t, mux)
	for _, name := range names {
		tab.open(address + "/page?" + url.QueryEscape(name))
		tab.text("h1")
		look(name)
	}
	if len(names) < 5 {
		t.Errorf("there are only the pages %q", names)
	}

	const back = "http://localhost/truelayer"
	bank := serve(t, newSimulator(t, back))
	tab.open(bank + "/?" + url.Values{"client_id": {clientID}}.Encode())
	tab.sees("This login cannot go on")
	look("simulator: refusal")
	tab.open(bank + "/?" + url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {back},
		"scope": {"info accounts balance offline_access"}, "providers": {"uk-ob-all uk-oauth-all uk-cs-mock ie-ob-all"},
	}.Encode())
	tab.sees("Choose your bank")
	look("simulator: banks")
	tab.goesToConsent()
	look("simulator: consent")
	tab.click("Allow")
	tab.sees("Log in")
	look("simulator: login")
	tab.fill("username", "nobody")
	tab.fill("password", "nothing")
	tab.click("Log in")
	tab.text(".alert")
	look("simulator: wrong password")
	tab.fill("username", "john")
	tab.fill("password", "doe")
	tab.click("Log in")
	tab.sees("Hello John Doe")
	look("simulator: accounts")
}

// samples answers with the samples at /page?<name>, and returns their names.
func samples(t *testing.T) (mux *http.ServeMux, names []string) {
	t.Helper()
	logo := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(logo, []byte(picture), 0o600); err != nil {
		t.Fatal(err)
	}
	site, err := pages.New(pages.Settings{Name: "payroll.intranet.example.com", Logo: logo})
	if err != nil {
		t.Fatal(err)
	}
	mux = http.NewServeMux()
	mux.HandleFunc("GET /truelayer/banks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		fmt.Fprint(w, picture)
	})
	type drawn struct{ body, policy string }
	all := make(map[string]drawn)
	for _, l := range pages.Languages() {
		for _, sample := range pages.Samples(l) {
			body, policy, err := site.Draw(l, sample.Content)
			if err != nil {
				t.Fatal(err)
			}
			name := l.Tag + ": " + sample.Name
			names = append(names, name)
			all[name] = drawn{string(body), policy}
			if m, ok := sample.Content.(*pages.Message); ok && m.Retries && !strings.Contains(string(body), `<a href="">`) {
				t.Errorf("%s tries again by itself, and has no link for those who do not wait", name)
			}
		}
	}
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		name, _ := url.QueryUnescape(r.URL.RawQuery)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", all[name].policy)
		fmt.Fprint(w, all[name].body)
	})
	return mux, names
}

// readAxe returns the script of axe-core, which package-lock.json pins.
func readAxe(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("AXE_CORE")
	if folder == "" {
		folder = "node_modules/axe-core"
	}
	script, err := os.ReadFile(filepath.Join(folder, "axe.min.js")) //nolint:gosec // where it was installed
	if err != nil {
		t.Fatalf("%v: run \"npm ci --ignore-scripts\" in test/browser, or test/run browser", err)
	}
	return string(script)
}

// runAxe is what axe finds against WCAG 2.2 at level AA and against its own best practices.
// What it cannot decide counts, too: nothing here is that complicated.
const runAxe = `;axe.run({exclude: ["svg"]}, {
	runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	rules: {"target-size": {enabled: true}},
}).then(({violations, incomplete, passes}) => {
	const found = [...violations, ...incomplete].map((rule) => rule.id + ": " + rule.help + ": " +
		rule.nodes.map((node) => node.html + " " + [...node.any, ...node.all, ...node.none].map((check) => check.message).join(", ")).join("; "));
	for (const needed of ["color-contrast", "document-title", "html-has-lang", "region"]) {
		if (!passes.some((rule) => rule.id === needed)) found.push("axe did not check " + needed);
	}
	return found;
})`

// afterOpening is what is wrong with the focus: only the summary of a form's errors may take it,
// and does.
const afterOpening = `new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))).then(() => {
	const wanted = document.querySelector(".summary") ?? document.body;
	return document.activeElement === wanted ? [] : ["the focus is on " + document.activeElement.outerHTML];
})`

// list evaluates an expression with a list of problems.
func list(tab *tab, expression string) []string {
	tab.t.Helper()
	return get(tab, "looking at the page", chromedp.Evaluate[[]string](expression, chromedp.EvalAwaitPromise))
}

// emulate sets what a person has chosen in the settings of the system.
func (tab *tab) emulate(feature, value string) {
	tab.t.Helper()
	get(tab, "setting "+feature, call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: feature, Value: value}}}))
}
