package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demotest"
)

// TestLoginForm: the form is for a visitor whose bank confirms the name, and opens the
// account of that name only.
func TestLoginForm(t *testing.T) {
	site := demotest.Start(t, example())
	v := demotest.NewVisitor(t, site)
	demotest.Contains(t, "the home page, which is public", v.Open("/").Text, `href="/wp-login.php"`)
	seesNoForm(t, v, "without a session")

	if back := v.Connect(v.Open("/wp-login.php").Location); back != "/wp-login.php" {
		t.Fatalf("the callback leads to %q", back)
	}
	seesNoForm(t, v, "without a name")
	asked := v.Open("/wp-login.php").Location
	if !strings.HasPrefix(asked, "/truelayer/name?") {
		t.Fatalf("without a name the form leads to %q", asked)
	}
	v.SendModuleForm(asked, url.Values{"name": {"Jane Carter"}})
	seesNoForm(t, v, "with the name of another one")
	v.Header = http.Header{"X-Name": {"John Doe"}, "X_Name": {"John Doe"}, "X-Name-Verified": {"match"}}
	seesNoForm(t, v, "with the application's header fields")

	if back := v.SendModuleForm(asked, url.Values{"name": {"John Doe"}}).Location; back != "/wp-login.php" {
		t.Errorf("the page that asks for a name leads to %q", back)
	}
	v.Header = http.Header{"X-Name": {"Jane Carter"}, "X_Name": {"Jane Carter"}}
	demotest.Contains(t, "the form", v.Open("/wp-login.php").Text, `name="pwd"`, "<strong>John Doe</strong>")
	opensAccount(t, v)

	v.SendModuleForm("/truelayer/name", url.Values{"name": {"Jane Carter"}})
	if answer := v.Open("/wp-admin/"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("with the name of another one the dashboard answers %s: %s", answer.Status, answer.Text)
	}
}

func seesNoForm(t *testing.T, v *demotest.Visitor, when string) {
	t.Helper()
	for _, path := range []string{"/wp-login.php", "/wp-login.php/", "/WP-login.php", "//wp-login.php", "/index.html/wp-login.php", "/wp-admin/", "/site.php"} {
		if answer := v.Open(path); answer.StatusCode == http.StatusOK || strings.Contains(answer.Text, `name="pwd"`) {
			t.Errorf("%s %s answers %s: %s", when, path, answer.Status, answer.Text)
		}
	}
	if answer := v.Send("/wp-login.php", url.Values{"log": {"john"}, "pwd": {"example"}}); answer.StatusCode < 400 {
		t.Errorf("%s the form is taken: %s, to %q", when, answer.Status, answer.Location)
	}
}

// opensAccount logs in as several users. The bank has confirmed that the visitor is
// John Doe.
func opensAccount(t *testing.T, v *demotest.Visitor) {
	t.Helper()
	before := v.Cookie("PHPSESSID")
	for _, refused := range []struct{ user, password, words string }{
		{"john", "wrong", "The user name or the password is wrong."},
		{"nobody", "example", "The user name or the password is wrong."},
		{"jane", "wrong", "The user name or the password is wrong."},
		{"jane", "example", "This account is not in the name that your bank has confirmed."},
	} {
		answer := v.Send("/wp-login.php", url.Values{"log": {refused.user}, "pwd": {refused.password}})
		demotest.Contains(t, refused.user, answer.Text, refused.words)
		if answer := v.Open("/wp-admin/"); answer.Location != "/wp-login.php" {
			t.Errorf("%s with %s sees %s", refused.user, refused.password, answer.Text)
		}
	}
	if answer := v.Send("/wp-login.php", url.Values{"log": {"john"}, "pwd": {"example"}}); answer.Location != "/wp-admin/" {
		t.Errorf("the right account leads to %q: %s", answer.Location, answer.Text)
	}
	demotest.Contains(t, "the dashboard", v.Open("/wp-admin/").Text, "Welcome, <strong>John Doe</strong>")
	if after := v.Cookie("PHPSESSID"); before == "" || after == before {
		t.Errorf("the session was %q and is %q", before, after)
	}
}
