package integration

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// firstSite is docs/first-site.md, and its Caddyfiles as templates.
func firstSite(t *testing.T) (document string, caddyfiles []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/first-site.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		caddyfiles = append(caddyfiles, "{\n\tadmin off\n\tpersist_config off\n\tgrace_period 1s\n\tstorage file_system {{.Data}}\n}\n"+strings.NewReplacer(
			"environment sandbox", "environment sandbox\n\t\tauth_server {{.AuthServer}}", "http://localhost:8080", "{{.Site}}", "localhost:3000", "{{.App}}",
			"{env.TRUELAYER_CLIENT_ID}", "{{.ClientID}}", "{env.TRUELAYER_CLIENT_SECRET}", "{env.TEST_CLIENT_SECRET}",
		).Replace(match[1]))
	}
	return string(text), caddyfiles
}

// TestFirstSite does what docs/first-site.md tells its readers to do, and sees what
// it says they see.
func TestFirstSite(t *testing.T) {
	document, caddyfiles := firstSite(t)
	w := start(t, caddyfiles[0], nil)
	shows := func(what, answer, promised string) {
		t.Helper()
		if !strings.Contains(document, promised) || !strings.Contains(answer, promised) {
			t.Errorf("%s: the document and the site do not both say %s: %s", what, promised, answer)
		}
	}
	if log := w.log.text(t); regexp.MustCompile(`"warn"[^\n]*"http.handlers.truelayer"`).MatchString(log) {
		t.Errorf("a warning when the configuration is loaded: %s", log)
	}
	b := w.browser()
	shows("curl", b.do(http.MethodGet, w.Site+"/").body, `"reason":"login_required"`)

	link := query(t, b.navigate(w.Site+"/").location())
	equal(t, "the scope that the document names as the default", link.Get("scope"), "verification")
	equal(t, "the bank", link.Get("providers"), "uk-cs-mock")
	equal(t, "after the login", w.login(b, w.Site+"/").location(), "/")
	for range 2 {
		shows("a page", b.navigate(w.Site+"/").body, "You are connected to mock.")
	}
	session := b.navigate(w.Site + "/truelayer/session").body
	shows("the session", session, `"connected":true`)
	if !regexp.MustCompile(`"token_expires_in":3[56]\d\d\b`).MatchString(session) {
		t.Errorf("the token is not there for almost an hour: %s", session)
	}
	gone := b.do(http.MethodPost, w.Site+"/truelayer/logout", asNavigation...)
	shows("signed out", b.navigate(w.Site+gone.location()).body, "You are signed out")
	b.navigate(w.Site + "/")
	shows("cancelled", b.navigate(w.Site+"/truelayer?error=access_denied").body, "Your bank was not connected")

	if err := w.load(caddyfiles[1]); err != nil { // with an application
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/about", "/assets/x.css"} {
		equal(t, path+", which is public", w.browser().navigate(w.Site+path).body, "hello")
	}
	equal(t, "the login on another page", w.login(b, w.Site+"/other").location(), "/other")
	b.navigate(w.Site + "/other")
	if _, got := w.app.requests(); !strings.HasPrefix(got.Header.Get("Authorization"), "Bearer eyJ") {
		t.Errorf("the application got Authorization %q", got.Header.Get("Authorization"))
	}
}
