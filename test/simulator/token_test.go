package simulator

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTokenRequestRefused(t *testing.T) {
	tests := map[string]struct {
		change []string
		status int
		code   string
	}{
		"unknown client":     {[]string{"client_id", "live-id"}, 400, "invalid_client"},
		"no client":          {[]string{"client_id", ""}, 400, "invalid_client"},
		"wrong secret":       {[]string{"client_secret", "guess"}, 400, "invalid_client"},
		"no secret":          {[]string{"client_secret", ""}, 400, "invalid_client"},
		"unknown grant":      {[]string{"grant_type", "password"}, 400, "invalid_request"},
		"no grant":           {[]string{"grant_type", ""}, 400, "invalid_request"},
		"no code":            {[]string{"code", ""}, 400, "invalid_request"},
		"no redirect_uri":    {[]string{"redirect_uri", ""}, 400, "invalid_request"},
		"no refresh_token":   {[]string{"grant_type", grantRefresh}, 400, "invalid_request"},
		"unknown code":       {[]string{"code", newHex(32)}, 400, "invalid_grant"},
		"unknown refresh":    {[]string{"grant_type", grantRefresh, "refresh_token", newHex(32)}, 400, "invalid_grant"},
		"other redirect_uri": {[]string{"redirect_uri", testRedirect + "?a=b"}, 400, "invalid_grant"},
		"other client":       {[]string{"client_id", "sandbox-other", "client_secret", "other-secret"}, 400, "invalid_grant"},
		"verifier unasked":   {[]string{"code_verifier", testVerifier}, 400, "invalid_grant"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			r := f.postToken(exchangeForm(f.code(), tt.change...))
			if code := r.errorCode(t); r.status != tt.status || code != tt.code {
				t.Errorf("%d %s, want %d %s", r.status, code, tt.status, tt.code)
			}
			if r.header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
		})
	}
}

func TestTokenRequestForms(t *testing.T) {
	tests := map[string]struct {
		contentType, body string
		status            int
	}{
		"form":                 {formType, "F", 200},
		"form with charset":    {formType + "; charset=utf-8", "F", 200},
		"json":                 {"application/json", "J", 200},
		"form, an extra field": {formType, "F&more=1", 200},
		"json, an extra field": {"application/json", `{"more":"1"}`, 400},
		"form, a field twice":  {formType, "F&code=1", 400},
		"json, a field twice":  {"application/json", `{"code":"1","code":"2"}`, 400},
		"json, not an object":  {"application/json", `["code"]`, 400},
		"json, a number":       {"application/json", `{"code":1}`, 400},
		"json, more of it":     {"application/json", `{"code":"1"}{}`, 400},
		"json, cut off":        {"application/json", `{"code":"1"`, 400},
		"broken form":          {formType, "code=%zz", 400},
		"no content type":      {"", "F", 400},
		"another content type": {"text/plain", "F", 400},
		"too long":             {formType, "F&more=" + strings.Repeat("x", maxBody), 413},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			form := exchangeForm(f.code())
			body := strings.Replace(tt.body, "F", form.Encode(), 1)
			if body == "J" {
				body = asJSON(form)
			}
			if r := f.send(http.MethodPost, "/connect/token", tt.contentType, body); r.status != tt.status {
				t.Errorf("%d %s, want %d", r.status, r.body, tt.status)
			}
		})
	}
}

func asJSON(form url.Values) string {
	var pairs []string
	for name := range form {
		pairs = append(pairs, `"`+name+`":"`+form.Get(name)+`"`)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func TestACodeWorksOnceAndForFiveMinutes(t *testing.T) {
	f := start(t)
	code := f.code()
	f.time.advance(codeLifetime - time.Second)
	first := f.tokens(exchangeForm(code))
	if r := f.postToken(exchangeForm(code)); r.errorCode(t) != "invalid_grant" {
		t.Errorf("the code used twice: %s", r.body)
	}
	if r := f.get("/data/v1/me", first.AccessToken); r.status != 200 {
		t.Errorf("the reuse of the code took its tokens away: %s", r.body)
	}
	late := f.code()
	f.time.advance(codeLifetime)
	if r := f.postToken(exchangeForm(late)); r.errorCode(t) != "invalid_grant" {
		t.Errorf("a code of five minutes: %s", r.body)
	}
}

func TestAWrongExchangeSpendsTheCode(t *testing.T) {
	f := start(t)
	code := f.code()
	f.postToken(exchangeForm(code, "redirect_uri", "https://elsewhere.example.com"))
	if r := f.postToken(exchangeForm(code)); r.errorCode(t) != "invalid_grant" {
		t.Errorf("the code is still good: %s", r.body)
	}
	code = f.code()
	f.postToken(exchangeForm(code, "client_id", "sandbox-other", "client_secret", "other-secret"))
	f.tokens(exchangeForm(code))
}

func TestPKCE(t *testing.T) {
	tests := map[string]struct {
		verifier string
		status   int
	}{
		"right":   {testVerifier, 200},
		"wrong":   {testVerifier + "x", 400},
		"missing": {"", 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			code := f.code("code_challenge", challenge(), "code_challenge_method", "S256")
			if r := f.postToken(exchangeForm(code, "code_verifier", tt.verifier)); r.status != tt.status {
				t.Errorf("%d %s, want %d", r.status, r.body, tt.status)
			}
		})
	}
}

func TestTokenResponse(t *testing.T) {
	tests := map[string]struct {
		scope   string
		set     func(*Settings)
		refresh bool
		named   string
	}{
		"offline_access":        {scope: "info offline_access", refresh: true, named: "info offline_access"},
		"no offline_access":     {scope: "verification", named: "verification"},
		"always a refresh":      {"verification", func(s *Settings) { s.RefreshTokens = "always" }, true, "verification"},
		"never a refresh":       {"info offline_access", func(s *Settings) { s.RefreshTokens = "never" }, false, "info offline_access"},
		"scope omitted":         {"verification", func(s *Settings) { s.GrantedScope = "-" }, false, ""},
		"less than asked":       {"info accounts", func(s *Settings) { s.GrantedScope = "info" }, false, "info"},
		"less, but still often": {"info offline_access", func(s *Settings) { s.GrantedScope = "info" }, true, "info"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			if tt.set != nil {
				f.Set(tt.set)
			}
			got := f.tokens(exchangeForm(f.code("scope", tt.scope)))
			if got.TokenType != "Bearer" || got.ExpiresIn != 3600 || got.Scope != tt.named || (got.RefreshToken != "") != tt.refresh {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestExpiresInStopsAtTheConsent(t *testing.T) {
	f := start(t)
	f.Set(func(s *Settings) { s.ConsentLifetime = 10 * time.Minute })
	if got := f.tokens(exchangeForm(f.code())); got.ExpiresIn != 600 {
		t.Errorf("expires_in %d, want the consent's 600", got.ExpiresIn)
	}
}

func TestRefreshWithoutRotation(t *testing.T) {
	f := start(t)
	first := f.tokens(exchangeForm(f.code()))
	for range 3 {
		next := f.tokens(refreshForm(first.RefreshToken))
		if next.RefreshToken != first.RefreshToken || next.AccessToken == first.AccessToken {
			t.Errorf("refreshed to %+v", next)
		}
	}
	if r := f.postToken(refreshForm(first.RefreshToken, "client_id", "sandbox-other", "client_secret", "other-secret")); r.errorCode(t) != "invalid_grant" {
		t.Errorf("another client may refresh: %s", r.body)
	}
}

func TestRotationNoticesReuse(t *testing.T) {
	f := start(t)
	f.Set(func(s *Settings) { s.Rotate = true })
	first := f.tokens(exchangeForm(f.code()))
	second := f.tokens(refreshForm(first.RefreshToken))
	if second.RefreshToken == first.RefreshToken || second.RefreshToken == "" {
		t.Fatalf("refresh token %q after %q", second.RefreshToken, first.RefreshToken)
	}
	for _, token := range []string{first.RefreshToken, second.RefreshToken} {
		if r := f.postToken(refreshForm(token)); r.errorCode(t) != "invalid_grant" {
			t.Errorf("after the reuse: %s", r.body)
		}
	}
	if r := f.get("/data/v1/me", second.AccessToken); r.status != http.StatusForbidden {
		t.Errorf("the connection lives on: %d %s", r.status, r.body)
	}
}

func TestRotationAllowsOneOfManyAtOnce(t *testing.T) {
	f := start(t)
	f.Set(func(s *Settings) { s.Rotate = true })
	first := f.tokens(exchangeForm(f.code()))
	var mu sync.Mutex
	var wg sync.WaitGroup
	good := 0
	for range 8 {
		wg.Go(func() {
			if f.postToken(refreshForm(first.RefreshToken)).status == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				good++
			}
		})
	}
	wg.Wait()
	if good != 1 {
		t.Errorf("%d refreshes with one token, want 1", good)
	}
}

func TestTheEndOfARefreshToken(t *testing.T) {
	tests := map[string]func(*fixture, tokenResponse){
		"revoked":      func(f *fixture, _ tokenResponse) { f.RevokeConsents() },
		"unused":       func(f *fixture, _ tokenResponse) { f.time.advance(30 * 24 * time.Hour) },
		"disconnected": func(f *fixture, got tokenResponse) { f.disconnect(got.AccessToken) },
		"consent over": func(f *fixture, got tokenResponse) {
			for range 9 {
				f.tokens(refreshForm(got.RefreshToken))
				f.time.advance(10 * 24 * time.Hour)
			}
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			got := f.tokens(exchangeForm(f.code()))
			end(f, got)
			if r := f.postToken(refreshForm(got.RefreshToken)); r.status != 400 || r.errorCode(t) != "invalid_grant" {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
}

func TestRevocationReachesUnusedCodes(t *testing.T) {
	f := start(t)
	code := f.code()
	f.RevokeConsents()
	if r := f.postToken(exchangeForm(code)); r.errorCode(t) != "invalid_grant" {
		t.Errorf("%d %s", r.status, r.body)
	}
}
