package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// openDialog follows an auth link to its first page and returns the session.
func (f *fixture) openDialog(changes ...string) (session string) {
	f.t.Helper()
	r := f.send(http.MethodGet, strings.TrimPrefix(f.link(changes...), f.url), "", "")
	_, session, ok := strings.Cut(r.header.Get("Location"), "?")
	if r.status != http.StatusSeeOther || !ok || !strings.HasPrefix(session, "session_id=auth-") {
		f.t.Fatalf("%d %v %s", r.status, r.header, r.body)
	}
	return session
}

func (f *fixture) press(step, session string, fields ...string) reply {
	f.t.Helper()
	form := url.Values{}
	set(form, fields)
	return f.send(http.MethodPost, "/dialog/"+step+"?"+session, formType, form.Encode())
}

func TestAuthLinkRefused(t *testing.T) {
	tests := map[string]struct {
		change []string
		want   string
	}{
		"unknown client":         {[]string{"client_id", "x"}, "client_id"},
		"trailing slash":         {[]string{"redirect_uri", testRedirect + "/"}, "redirect_uri"},
		"no redirect_uri":        {[]string{"redirect_uri", ""}, "redirect_uri"},
		"token response":         {[]string{"response_type", "token"}, "response_type"},
		"no response_type":       {[]string{"response_type", ""}, "response_type"},
		"unknown response_mode":  {[]string{"response_mode", "fragment"}, "response_mode"},
		"no scope":               {[]string{"scope", ""}, "scope"},
		"unknown scope":          {[]string{"scope", "info openid"}, "openid"},
		"plain PKCE":             {[]string{"code_challenge", challenge(), "code_challenge_method", "plain"}, "S256"},
		"PKCE without a method":  {[]string{"code_challenge", challenge()}, "S256"},
		"a method alone":         {[]string{"code_challenge_method", "S256"}, "code_challenge"},
		"a bad challenge":        {[]string{"code_challenge", "short", "code_challenge_method", "S256"}, "code_challenge"},
		"a strange provider_id":  {[]string{"provider_id", "<b>"}, "provider_id"},
		"provider_id not listed": {[]string{"provider_id", "xs2a-lindenbank"}, "providers"},
		"provider_id alone":      {[]string{"provider_id", "ob-harbour", "providers", ""}, "providers"},
		"too long":               {[]string{"state", strings.Repeat("x", maxAuthLink)}, "shorter"},
		"an answer to markup":    {[]string{"client_id", "<script>"}, "&lt;script&gt;"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			r := f.send(http.MethodGet, strings.TrimPrefix(f.link(tt.change...), f.url), "", "")
			if r.status != 400 || r.header.Get("Location") != "" || !strings.Contains(r.body, tt.want) {
				t.Errorf("%d, Location %q, want %q in %s", r.status, r.header.Get("Location"), tt.want, r.body)
			}
			if _, err := f.Grant(f.link(tt.change...)); err == nil {
				t.Error("Grant accepts the link")
			}
		})
	}
	f := start(t)
	for _, path := range []string{"/", "/?client_id=a&client_id=b", "/?client_id=%zz"} {
		if r := f.send(http.MethodGet, path, "", ""); r.status != 400 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
}

func TestPagesGuardThemselves(t *testing.T) {
	f := start(t)
	session := f.openDialog()
	pages := map[string]reply{"bank": f.send(http.MethodGet, "/dialog/bank?"+session, "", "")}
	f.press(stepBank, session, "provider_id", "mock")
	pages["consent"] = f.send(http.MethodGet, "/dialog/consent?"+session, "", "")
	f.press(stepConsent, session)
	pages["login"] = f.send(http.MethodGet, "/dialog/login?"+session, "", "")
	pages["refused"] = f.press(stepLogin, session, "username", "john", "password", "no")
	f.press(stepLogin, session, "username", "john", "password", "doe")
	pages["accounts"] = f.send(http.MethodGet, "/dialog/accounts?"+session, "", "")
	pages["none chosen"] = f.press(stepAccounts, session)
	pages["error"] = f.send(http.MethodGet, "/", "", "")
	pages["back"] = f.press(stepCancel, f.openDialog("response_mode", "form_post"))
	for name, r := range pages {
		policy := r.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "form-action") ||
			r.header.Get("X-Frame-Options") != "DENY" || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, r.header)
		}
		if !strings.Contains(r.body, "Simulation.") || !strings.HasPrefix(r.body, "<!doctype html>") {
			t.Errorf("%s: %s", name, r.body)
		}
	}
	if body := pages["consent"].body; !strings.Contains(body, "Test &amp; Co") || !strings.Contains(body, "90 days") ||
		!strings.Contains(body, "account numbers") {
		t.Errorf("consent: %s", body)
	}
	if pages["refused"].status != 422 || pages["none chosen"].status != 422 {
		t.Errorf("refused %d, none chosen %d", pages["refused"].status, pages["none chosen"].status)
	}
}

func TestStepsCannotBeSkipped(t *testing.T) {
	f := start(t)
	session := f.openDialog()
	for _, step := range []string{stepConsent, stepLogin, stepAccounts, "nonsense"} {
		for _, r := range []reply{f.send(http.MethodGet, "/dialog/"+step+"?"+session, "", ""), f.press(step, session)} {
			if r.status != 303 || !strings.HasPrefix(r.header.Get("Location"), "/dialog/bank?") {
				t.Errorf("%s: %d %v", step, r.status, r.header.Get("Location"))
			}
		}
	}
	f.press(stepBank, session, "provider_id", "mock")
	f.press(stepConsent, session)
	if r := f.send(http.MethodGet, "/dialog/bank?"+session, "", ""); r.status != 200 {
		t.Errorf("back to the bank: %d", r.status)
	}
	session = f.openDialog("provider_id", "mock")
	if r := f.send(http.MethodGet, "/dialog/bank?"+session, "", ""); r.status != 303 {
		t.Errorf("a bank that was chosen before can be changed: %d", r.status)
	}
}

func TestADialogEnds(t *testing.T) {
	f := start(t)
	session := f.openDialog()
	f.time.advance(dialogLifetime)
	if r := f.send(http.MethodGet, "/dialog/bank?"+session, "", ""); r.status != 400 || !strings.Contains(r.body, "timed out") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.press(stepBank, "session_id=auth-unknown"); r.status != 400 {
		t.Errorf("an unknown session: %d", r.status)
	}
}

func TestOfferedBanks(t *testing.T) {
	tests := map[string][]string{
		"fr-stet-all pl-polishapi-all":       {"mock", "stet-rivage", "stet-mutuelle-lavande", "stet-eclat", "polishapi-bursztyn"},
		"uk-cs-mock":                         {"mock"},
		"ie-ob-all":                          {"mock", "ob-shannon", "ob-liffey", "ob-corrib"},
		"ie-ob-all ie-oauth-all":             {"mock", "ob-shannon", "ob-liffey", "ob-corrib", "oauth-clover"},
		"uk-ob-monzo uk-cs-mock uk-ob-monzo": {"mock", "ob-monzo"},
		"uk-ob-kestrel de-xs2a-x":            {"mock", "ob-kestrel", "xs2a-x"},
		"ob-monzo":                           {"mock", "ob-monzo"},
		"ob-kestrel uk-ob-kestrel":           {"mock", "ob-kestrel"},
		"oauth-x stet-y xs2a-z":              {"mock", "oauth-x", "stet-y", "xs2a-z"},
		"mock":                               {"mock"},
		"zz-ob-all":                          {"mock"},
		"Nonsense <b> - uk uk- x":            {"mock"},
	}
	for providers, want := range tests {
		var got []string
		for _, b := range offered(strings.Fields(providers)) {
			got = append(got, b.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", providers, got, want)
		}
	}
	if n := len(offered(nil)); n != len(banks) {
		t.Errorf("without providers there are %d banks, want all %d", n, len(banks))
	}
	if n := len(offered(strings.Fields(manyProviders()))); n > maxNamedBanks {
		t.Errorf("an auth link can make up %d banks", n)
	}
}

func TestCoveredBanks(t *testing.T) {
	for _, tt := range []struct {
		providers, id string
		want          bool
	}{
		{"uk-ob-all", "ob-monzo", true},
		{"ob-monzo", "ob-monzo", true},
		{"uk-ob-monzo", "ob-monzo", true},
		{"uk-oauth-all ob-monzo", "ob-monzo", true},
		{"", "mock", true},
		{"", "ob-monzo", false},
		{"ob-monzo", "monzo", false},
		{"uk-oauth-all", "ob-monzo", false},
		{"ob-monzo-business", "ob-monzo", false},
	} {
		if got := covers(strings.Fields(tt.providers), tt.id); got != tt.want {
			t.Errorf("%q covers %s: %t", tt.providers, tt.id, got)
		}
	}
}

func manyProviders() string {
	var list strings.Builder
	for range 500 {
		list.WriteString("uk-ob-" + strings.ToLower(newHex(4)) + " ")
	}
	return list.String()
}
