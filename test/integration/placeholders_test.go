package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// basicAuth asks for a password of the whole site's visitors; it is "pass".
const basicAuth = "basic_auth {\n staff $2a$04$QkRxX1v8CgoVlzkI2T0bReyLE0ZziDHJg0zR2dp1GfbjjRQ6QxsVS\n }"

var staff = []string{"Authorization", "Basic c3RhZmY6cGFzcw=="}

// identified sends what the application may know of the connection upstream.
func identified(w *world) string {
	return `reverse_proxy ` + w.App + ` {
		header_up X-Bank-User {http.auth.user.id}
		header_up X-Connection {http.truelayer.connection}
		header_up X-Bank {http.truelayer.provider}
		header_up X-Scopes {http.truelayer.scopes}
		header_up X-Expires {http.truelayer.expires_in}
		header_up X-Consent {http.truelayer.consent_expires}
		header_up X-Consent-In {http.truelayer.consent_expires_in}
		header_up X-Page {http.truelayer.connection_url}
		header_up X-Staff {vars.staff}
	}`
}

var identityFields = []string{"X-Bank-User", "X-Connection", "X-Bank", "X-Scopes", "X-Expires", "X-Consent", "X-Consent-In", "X-Page"}

// TestNobodysPlaceholders: where there is no session the application is told
// nothing, in place of the placeholder's name, one and the same for everybody.
func TestNobodysPlaceholders(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Matcher, w.After = "/account*", identified(w) })
	b := w.signedInAt("/account")
	for name, visitor := range map[string]*browser{"nobody": w.browser(), "a visitor with a session": b} {
		visitor.do("GET", w.Site+"/public", "X-Bank-User", "forged")
		_, got := w.app.requests()
		for _, field := range identityFields {
			equal(t, name+": "+field, strings.Join(got.Header.Values(field), "|"), "")
		}
	}
	b.navigate(w.Site + "/account")
	_, got := w.app.requests()
	for _, field := range identityFields {
		if value := got.Header.Get(field); value == "" || strings.ContainsAny(value, "{}") {
			t.Errorf("%s is %q", field, value)
		}
	}
}

// TestErrorRoutesPlaceholders: the same holds for error pages.
func TestErrorRoutesPlaceholders(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "disable_error_pages"
		w.Before = basicAuth
		w.After = "handle_errors {\n" + identified(w) + "\n}"
	})
	w.browser().do("GET", w.Site+"/truelayer?failed=access_denied", append(staff, asNavigation...)...)
	n, got := w.app.requests()
	equal(t, "requests of the error route", n, 1)
	for _, field := range identityFields {
		equal(t, field, strings.Join(got.Header.Values(field), "|"), "")
	}
}

// TestUserBesideBasicAuth: two visitors who share the password of a staging site
// are two users.
func TestUserBesideBasicAuth(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Matcher, w.After = "/account*", basicAuth+"\n"+identified(w)
	})
	users := make(map[string]bool)
	for range 2 {
		b := w.browser()
		sent := b.do("GET", w.Site+"/account", append(staff, asNavigation...)...)
		callback, err := w.sim.Grant(sent.location())
		if err != nil {
			t.Fatal(err)
		}
		b.do("GET", callback, append(staff, asNavigation...)...)
		b.do("GET", w.Site+"/account", append(staff, asNavigation...)...)
		_, got := w.app.requests()
		users[got.Header.Get("X-Bank-User")] = true
		b.do("GET", w.Site+"/public", append(staff, asNavigation...)...)
		_, got = w.app.requests()
		equal(t, "what another handler has set", got.Header.Get("X-Bank-User"), "staff")
	}
	if len(users) != 2 || users["staff"] || users[""] {
		t.Errorf("two logins arrived as %v", users)
	}
}

// TestUserBeforeBasicAuth: with the password asked for behind the directive all
// visitors have one user, and each a connection of their own.
func TestUserBeforeBasicAuth(t *testing.T) {
	site := strings.NewReplacer("{{.Before}}", "route {", "\t{{.After}}\n\treverse_proxy {{.App}}\n}", basicAuth+"\n{{.After}}\n}\n}").Replace(plain)
	w := start(t, site, func(w *world) { w.Options, w.After = "token_header X-Token", identified(w) })
	connections := make(map[string]bool)
	for range 2 {
		b := w.browser()
		callback, err := w.sim.Grant(b.do("GET", w.Site+"/", append(staff, asNavigation...)...).location())
		if err != nil {
			t.Fatal(err)
		}
		b.do("GET", callback, append(staff, asNavigation...)...)
		b.do("GET", w.Site+"/", append(staff, asNavigation...)...)
		_, got := w.app.requests()
		equal(t, "user", got.Header.Get("X-Bank-User"), "staff")
		connections[got.Header.Get("X-Connection")] = true
	}
	if len(connections) != 2 || connections["staff"] || connections[""] {
		t.Errorf("two logins arrived as %v", connections)
	}
}

// TestUserKeptInVars: an operator who wants both keeps the one before the
// directive, as docs/protecting-paths.md says.
func TestUserKeptInVars(t *testing.T) {
	site := strings.NewReplacer("{{.Before}}", "route {\n"+basicAuth+"\nvars staff {http.auth.user.id}", "\t{{.After}}\n\treverse_proxy {{.App}}\n}", "{{.After}}\n}\n}").Replace(plain)
	w := start(t, site, func(w *world) { w.After = identified(w) })
	b := w.browser()
	sent := b.do("GET", w.Site+"/", append(staff, asNavigation...)...)
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		t.Fatal(err)
	}
	b.do("GET", callback, append(staff, asNavigation...)...)
	b.do("GET", w.Site+"/", append(staff, asNavigation...)...)
	_, got := w.app.requests()
	equal(t, "the one", got.Header.Get("X-Staff"), "staff")
	if user := got.Header.Get("X-Bank-User"); user == "" || user == "staff" {
		t.Errorf("the other is %q", user)
	}
}

// TestUserOfTwoBlocks: of several blocks the one counts that found the session.
func TestUserOfTwoBlocks(t *testing.T) {
	for name, order := range map[string][2]string{"the first": {"/account*", "/other*"}, "the second": {"/other*", "/account*"}, "both": {"/account*", "/account*"}} {
		t.Run(name, func(t *testing.T) {
			block := func(i int, path string) string {
				return fmt.Sprintf("truelayer %s {\nclient_id {{.ClientID}}\nclient_secret {env.TEST_CLIENT_SECRET}\nredirect_uri {{.Site}}/%s\nauth_server {{.AuthServer}}\nscopes %s\n}\n",
					order[i], path, []string{"verification", "info"}[i])
			}
			site := plain[:strings.Index(plain, "\ttruelayer")] + block(0, "truelayer") + block(1, "second") + plain[strings.Index(plain, "\t{{.After}}"):]
			w := start(t, site, func(w *world) { w.After = identified(w) })
			b := w.browser()
			for range 2 {
				if sent := b.navigate(w.Site + "/account"); sent.StatusCode == http.StatusSeeOther {
					callback, err := w.sim.Grant(sent.location())
					if err != nil {
						t.Fatal(err)
					}
					b.navigate(callback)
				}
			}
			equal(t, "page", b.navigate(w.Site+"/account").StatusCode, http.StatusOK)
			_, got := w.app.requests()
			want := map[string]string{"the first": "verification", "the second": "info", "both": "info"}[name]
			equal(t, "scopes", got.Header.Get("X-Scopes"), want)
			if user := got.Header.Get("X-Bank-User"); user == "" || strings.Contains(user, "{") {
				t.Errorf("the user is %q", user)
			}
		})
	}
}
