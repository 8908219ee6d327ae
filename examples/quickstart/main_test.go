package main

import (
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demotest"
)

// TestQuickstart goes through the whole of it over HTTP; test/browser does the
// same with a real browser.
func TestQuickstart(t *testing.T) {
	site := demotest.Start(t, example())
	v := demotest.NewVisitor(t, site)

	page := v.Open("/").Text
	demotest.Contains(t, "the home page, which is public", page, `href="/account"`, "<title>Payroll 2004</title>")
	if strings.Contains(page, "Sign out") {
		t.Errorf("the home page, which knows no session, offers to sign out: %s", page)
	}
	for _, path := range []string{"/account", "/account/", "/forgotten"} {
		if answer := v.Open(path); !strings.HasPrefix(answer.Location, "/truelayer/banks") {
			t.Errorf("%s is public: %s", path, answer.Text)
		}
	}

	banks := v.Open("/account").Location
	demotest.Contains(t, "the page with the banks", v.Open(banks).Text,
		"Choose your bank", `href="/truelayer/login?provider=mock&amp;return=%2Faccount"`)
	if back := v.Connect(v.Open("/truelayer/login?provider=mock&return=/account").Location); back != "/account" {
		t.Fatalf("the callback leads to %q", back)
	}
	demotest.Contains(t, "the account page", v.Open("/account").Text,
		"Bearer eyJ", "<title>My account – Payroll 2004</title>", `<form method="post" action="/truelayer/logout">`)
	for name, want := range map[string]string{"John Doe": "<strong>Verified</strong>", "Somebody Else": "<strong>Not verified</strong>"} {
		page := v.Send("/account", url.Values{"name": {name}}).Text
		demotest.Contains(t, name, page, want, "<title>Name check – Payroll 2004</title>")
	}

	if back := v.SendModuleForm("/truelayer/name?return=/account", url.Values{"name": {"John Doe"}}).Location; back != "/account" {
		t.Errorf("the page that asks for a name leads to %q", back)
	}
	demotest.Contains(t, "the account page", v.Open("/account").Text, "<strong>John Doe</strong>: <code>match</code>")
	v.Send("/truelayer/logout", url.Values{})
	if banks := v.Open("/account").Location; !strings.HasPrefix(banks, "/truelayer/banks") {
		t.Errorf("after signing out the account page leads to %q", banks)
	}
}

// TestConsent: with -consent visitors consent on the site, and go straight to the bank.
func TestConsent(t *testing.T) {
	site := demotest.Start(t, example(), "-consent")
	v := demotest.NewVisitor(t, site)
	address := v.Open("/truelayer/login?provider=mock&return=/account").Location
	demotest.Contains(t, "the page", v.Open(address).Text,
		"Connect Mock", "Payroll 2004 gets the data.", "the account to which we pay your salary is yours.")
	link := v.SendModuleForm(address, url.Values{"name": {"John Doe"}, "email": {"john@example.com"}}).Location
	if back := v.Connect(link); back != "/account" {
		t.Errorf("the callback leads to %q", back)
	}
}

// TestPortsInUse: Caddy would share its port with a second quickstart, and each of
// them would get half of the visitors.
func TestPortsInUse(t *testing.T) {
	site := demotest.Start(t, example())
	port := site[strings.LastIndex(site, ":")+1:]
	free := demotest.FreePort
	for flag, args := range map[string][]string{
		"-port":           {"-port", port},
		"-app-port":       {"-port", free(t), "-app-port", port, "-simulator-port", "0"},
		"-simulator-port": {"-port", free(t), "-app-port", "0", "-simulator-port", port},
	} {
		t.Setenv("TRUELAYER_CLIENT_ID", "") // or a second one would use the sandbox
		err := example().Run(t.Context(), args, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "choose another port with "+flag) || !strings.Contains(err.Error(), "127.0.0.1:"+port) {
			t.Errorf("%s in use: %v", flag, err)
		}
	}
}
