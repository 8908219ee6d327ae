package integration

import (
	"net/http"
	"strings"
	"testing"
)

func TestLogin(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()

	sent := b.navigate(w.Site + "/account?tab=2&x=%20")
	equal(t, "status", sent.StatusCode, http.StatusSeeOther)
	equal(t, "Cache-Control", sent.Header.Get("Cache-Control"), "no-store")
	link := query(t, sent.location())
	for name, want := range map[string]string{
		"response_type": "code", "client_id": clientID, "redirect_uri": w.Site + "/truelayer", "scope": "verification",
		"providers": "uk-ob-all uk-oauth-all", "code_challenge_method": "S256",
	} {
		equal(t, name, link.Get(name), want)
	}
	if len(link.Get("state")) != 43 || len(link.Get("code_challenge")) != 43 {
		t.Errorf("state %q, code_challenge %q", link.Get("state"), link.Get("code_challenge"))
	}
	if again := b.navigate(w.Site + "/account"); query(t, again.location()).Get("state") == link.Get("state") {
		t.Error("an auth link was used twice")
	}

	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		t.Fatal(err)
	}
	back := b.navigate(callback)
	equal(t, "status of the callback", back.StatusCode, http.StatusSeeOther)
	equal(t, "where the visitor was going", back.location(), "/account?tab=2&x=%20")
	equal(t, "Referrer-Policy", back.Header.Get("Referrer-Policy"), "no-referrer")
	equal(t, "Cache-Control", back.Header.Get("Cache-Control"), "no-store")

	form, _ := w.sim.LastTokenRequest()
	equal(t, "redirect_uri of the exchange", form.Get("redirect_uri"), w.Site+"/truelayer")
	equal(t, "client_secret in the body", form.Get("client_secret"), clientSecret)
	if form.Get("code_verifier") == "" {
		t.Error("no code_verifier")
	}

	page := b.navigate(w.Site + back.location())
	equal(t, "body", page.body, "hello")
	_, got := w.app.requests()
	if !strings.HasPrefix(got.Header.Get("Authorization"), "Bearer eyJ") {
		t.Errorf("the application got Authorization %q", got.Header.Get("Authorization"))
	}
	equal(t, "Cookie at the application", got.Header.Get("Cookie"), "")
	equal(t, "Vary", page.Header.Get("Vary"), "Cookie")
	equal(t, "Cache-Control", page.Header.Get("Cache-Control"), "private")
}
