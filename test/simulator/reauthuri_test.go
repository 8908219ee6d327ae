package simulator

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// What TrueLayer's API description says of a request for a reauthentication link.
var (
	describedReauthURI = []string{
		"response_type", "refresh_token", "redirect_uri", "state", "code_challenge", "code_challenge_method", "response_mode",
	}
	requiredOfReauthURI = []string{"response_type", "refresh_token", "redirect_uri"}
)

func reauthURIObject(refreshToken string, changes ...any) object {
	return changed(object{
		"response_type": "code", "refresh_token": refreshToken, "redirect_uri": testRedirect, "state": "again",
		"code_challenge": challenge(), "code_challenge_method": "S256", "response_mode": "form_post",
	}, changes)
}

// direct is the tokens of a login at a bank to which a link led directly.
func (f *fixture) direct(changes ...any) tokenResponse {
	f.t.Helper()
	return f.granted(f.directLink(changes...))
}

// granted is the tokens at the end of a bank link.
func (f *fixture) granted(bankLink string) tokenResponse {
	f.t.Helper()
	callback, err := f.GrantDirect(bankLink)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.tokens(exchangeForm(queryOf(f.t, callback).Get("code"), "code_verifier", testVerifier))
}

func (f *fixture) reauthLink(refreshToken string, changes ...any) string {
	f.t.Helper()
	return f.bankLink(f.post("/v1/reauthuri", reauthURIObject(refreshToken, changes...)))
}

func TestReauthURIAgreesWithItsDescription(t *testing.T) {
	f := start(t)
	token := f.direct().RefreshToken
	complete := reauthURIObject(token)
	agrees(t, complete, describedReauthURI, describedReauthURI)
	r := f.post("/v1/reauthuri", complete)
	var answer object
	r.decode(t, &answer)
	agrees(t, answer, describedAuthURIReply, describedAuthURIReply)
	if !strings.HasPrefix(f.bankLink(r), f.url+"/bank/ob-harbour/authorize?") {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, name := range describedReauthURI {
		o := reauthURIObject(token, name, nil)
		if strings.HasPrefix(name, "code_challenge") {
			o = reauthURIObject(token, "code_challenge", nil, "code_challenge_method", nil)
		}
		r := f.post("/v1/reauthuri", o)
		if refused := r.status == 400 && r.errorCode(t) == "invalid_request" && strings.Contains(r.reason(t), name); refused != slices.Contains(requiredOfReauthURI, name) {
			t.Errorf("without %s: %d %s", name, r.status, r.body)
		}
		for _, wrong := range []any{7, ""} {
			if r := f.post("/v1/reauthuri", reauthURIObject(token, name, wrong)); r.status != 400 || !strings.Contains(r.reason(t), name) {
				t.Errorf("%s %v: %d %s", name, wrong, r.status, r.body)
			}
		}
	}
	for _, name := range []string{"client_id", "client_secret", "scope", "provider_id"} {
		if r := f.post("/v1/reauthuri", reauthURIObject(token, name, "x")); r.status != 400 || !strings.Contains(r.reason(t), name) {
			t.Errorf("with %s: %d %s", name, r.status, r.body)
		}
	}
}

func TestReauthURIRefuses(t *testing.T) {
	tests := map[string]struct {
		bank   string
		change []any
		before func(*fixture, tokenResponse)
		status int
		code   string
		reason string
	}{
		"unknown token":         {change: []any{"refresh_token", newHex(32)}, status: 401, code: "invalid_request", reason: "Invalid refresh_token"},
		"deleted":               {before: func(f *fixture, got tokenResponse) { f.disconnect(got.AccessToken) }, status: 401, code: "invalid_request", reason: "Invalid refresh_token"},
		"90 days after its end": {before: func(f *fixture, _ tokenResponse) { f.time.advance(180 * 24 * time.Hour) }, status: 401, code: "invalid_request", reason: "Invalid refresh_token"},
		"replaced": {before: func(f *fixture, got tokenResponse) {
			f.Set(func(s *Settings) { s.Rotate = true })
			f.tokens(refreshForm(got.RefreshToken))
		}, status: 401, code: "invalid_request", reason: "Invalid refresh_token"},
		"unregistered redirect": {change: []any{"redirect_uri", testRedirect + "/"}, status: 401, code: "unauthorized_client"},
		"response_type":         {change: []any{"response_type", "token"}, status: 400, code: "invalid_request", reason: "response_type"},
		"response_mode":         {change: []any{"response_mode", "query"}, status: 400, code: "invalid_request", reason: "response_mode"},
		"plain PKCE":            {change: []any{"code_challenge_method", "plain"}, status: 400, code: "invalid_request", reason: "S256"},
		"an Irish bank":         {bank: "ob-shannon", status: 400, code: "invalid_request", reason: "United Kingdom"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			if tt.bank == "" {
				tt.bank = "ob-harbour"
			}
			got := f.direct("provider_id", tt.bank)
			if tt.before != nil {
				tt.before(f, got)
			}
			r := f.post("/v1/reauthuri", reauthURIObject(got.RefreshToken, tt.change...))
			if r.status != tt.status || r.errorCode(t) != tt.code || !strings.Contains(r.reason(t), tt.reason) {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	f := start(t)
	if r := f.send(http.MethodPost, "/v1/reauthuri", formType, "response_type=code"); r.status != 400 || !strings.Contains(r.reason(t), "Content-Type") {
		t.Errorf("a form: %d %s", r.status, r.body)
	}
}

// TestReauthenticationRenewsAConnection: before its consent ends, after that, and
// after it was revoked.
func TestReauthenticationRenewsAConnection(t *testing.T) {
	for name, before := range map[string]func(*fixture){
		"before the end": func(*fixture) {},
		"after the end":  func(f *fixture) { f.time.advance(179 * 24 * time.Hour) },
		"revoked":        func(f *fixture) { f.RevokeConsents() },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			first := f.direct()
			before(f)
			link := f.reauthLink(first.RefreshToken)
			callback, err := Approve(t.Context(), nil, link)
			if err != nil {
				t.Fatal(err)
			}
			query := queryOf(t, callback)
			if query.Get("state") != "again" || query.Get("scope") != "verification accounts info offline_access" {
				t.Errorf("callback %s", callback)
			}
			second := f.tokens(exchangeForm(query.Get("code"), "code_verifier", testVerifier))
			old, renewed := f.claims(first.AccessToken), f.claims(second.AccessToken)
			if renewed.Subject != old.Subject || renewed.ConnectorID != "ob-harbour" || renewed.ConsentExpiry != f.time.now().Add(90*24*time.Hour).Unix() {
				t.Errorf("%+v, before %+v", renewed, old)
			}
			if consent, ok := f.Consent(renewed.Subject); !ok || consent.ConsentID != "consent17" {
				t.Errorf("consented with %+v", consent)
			}
			if second.RefreshToken == first.RefreshToken || len(f.all()) != 1 {
				t.Errorf("refresh token %s, %d connections", second.RefreshToken, len(f.all()))
			}
			if r := f.postToken(refreshForm(first.RefreshToken)); r.errorCode(t) != "invalid_grant" {
				t.Errorf("the old refresh token: %s", r.body)
			}
			f.tokens(refreshForm(second.RefreshToken))
		})
	}
}

// TestTheOldTokenWorksUntilTheExchange: a refresh in between harms nothing.
func TestTheOldTokenWorksUntilTheExchange(t *testing.T) {
	f := start(t)
	f.Set(func(s *Settings) { s.Rotate = true })
	first := f.direct()
	callback, err := f.GrantDirect(f.reauthLink(first.RefreshToken))
	if err != nil {
		t.Fatal(err)
	}
	f.tokens(refreshForm(first.RefreshToken))
	f.tokens(refreshForm(f.tokens(exchangeForm(queryOf(t, callback).Get("code"), "code_verifier", testVerifier)).RefreshToken))
}

// TestReauthenticationOfTheDialogsConnection: the link for it needs no consent page.
func TestReauthenticationOfTheDialogsConnection(t *testing.T) {
	f := start(t)
	callback, err := Approve(t.Context(), nil, f.link(), As("john7", "doe7"))
	if err != nil {
		t.Fatal(err)
	}
	first := f.tokens(exchangeForm(queryOf(t, callback).Get("code")))
	second := f.granted(f.reauthLink(first.RefreshToken))
	if a, b := f.claims(first.AccessToken).Subject, f.claims(second.AccessToken).Subject; a != b {
		t.Errorf("%s became %s", a, b)
	}
	if r := f.get("/data/v1/info", second.AccessToken); !strings.Contains(r.body, mockName(7)) {
		t.Errorf("renewed by %s", r.body)
	}
}

func TestAnotherUserReauthenticates(t *testing.T) {
	f := start(t)
	first := f.direct()
	callback, err := Approve(t.Context(), nil, f.reauthLink(first.RefreshToken), As("john1", "doe1"))
	if err != nil {
		t.Fatal(err)
	}
	other := f.tokens(exchangeForm(queryOf(t, callback).Get("code"), "code_verifier", testVerifier))
	f.send(http.MethodPut, "/simulator/settings", jsonType, `{"reauth_other":true}`)
	set := f.granted(f.reauthLink(first.RefreshToken))
	subjects := []string{f.claims(first.AccessToken).Subject, f.claims(other.AccessToken).Subject, f.claims(set.AccessToken).Subject}
	if slices.Sort(subjects); len(slices.Compact(subjects)) != 3 {
		t.Errorf("subjects %v, want three", subjects)
	}
	f.tokens(refreshForm(first.RefreshToken)) // it is another's business
}

func TestCancelAReauthentication(t *testing.T) {
	f := start(t)
	first := f.direct()
	callback, err := Approve(t.Context(), nil, f.reauthLink(first.RefreshToken), CancelAt(stepLogin))
	if got := queryOf(t, callback); err != nil || got.Get("error") != "access_denied" || got.Get("state") != "again" {
		t.Errorf("%s, %v", callback, err)
	}
	f.tokens(refreshForm(first.RefreshToken))
}
