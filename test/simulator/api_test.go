package simulator

import (
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func (f *fixture) disconnect(accessToken string) reply {
	f.t.Helper()
	return f.send(http.MethodDelete, "/api/delete", "", "", "Authorization", "Bearer "+accessToken)
}

// accessToken is a fresh one, of a person who logs in through the dialog.
func (f *fixture) accessToken(scope string, options ...ApproveOption) string {
	f.t.Helper()
	callback, err := Approve(f.t.Context(), nil, f.link("scope", scope), options...)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.tokens(exchangeForm(queryOf(f.t, callback).Get("code"))).AccessToken
}

func TestVerify(t *testing.T) {
	f := start(t)
	token := f.accessToken("verification")
	tests := []struct {
		name     string
		score    int
		verified bool
	}{
		{"John Doe", 100, true},
		{"  doe,  JOHN ", 100, true},
		{"Jon Doe", 87, true},
		{"Jack Johnson", 41, false},
		{"?", 0, false},
	}
	for _, tt := range tests {
		r := f.verify(tt.name, token)
		var got verification
		r.decode(t, &got)
		if r.status != http.StatusOK || got.Score != tt.score || got.Verified != tt.verified || got.Holder != "John Doe" {
			t.Errorf("%q: %d %+v", tt.name, r.status, got)
		}
		if len(got.Report) != 3 || got.Report[2].FailureCode != kindCard || got.Report[0].Holders[0].Score != tt.score {
			t.Errorf("%q: report %+v", tt.name, got.Report)
		}
	}
}

// TestVerifySeveralHolders: the name of either holder is verified.
func TestVerifySeveralHolders(t *testing.T) {
	f := start(t)
	token := f.accessToken("verification", As("joint", "doe"))
	for name, verified := range map[string]bool{"Rosa Deck": true, "Hugo Deck": true, "John Doe": false} {
		var got verification
		f.verify(name, token).decode(t, &got)
		if got.Verified != verified || verified && got.Holder != name || len(got.Report[0].Holders) != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestVerifyReportsIBANAccounts(t *testing.T) {
	f := start(t)
	var got verification
	f.verify("Alice", f.accessToken("verification", As("john7", "iban7"))).decode(t, &got)
	first := got.Report[0]
	if first.Currency != "EUR" || first.SortCode != "" || first.AccountNumber != "" || !strings.HasPrefix(first.IBAN, "DE") {
		t.Errorf("%+v", first)
	}
}

func TestVerifyRefuses(t *testing.T) {
	tests := map[string]struct {
		scope   string
		options []ApproveOption
		name    string
		before  func(*fixture)
		status  int
		title   string
	}{
		"no suitable account": {options: []ApproveOption{As("card", "doe")}, status: 400, title: "No suitable accounts to verify."},
		"no name":             {name: " ", status: 400, title: "One or more validation errors occurred."},
		"a long name":         {name: strings.Repeat("ü", 201), status: 400, title: "One or more validation errors occurred."},
		"another scope":       {scope: "info", status: 403, title: "Forbidden"},
		"consent over":        {before: func(f *fixture) { f.RevokeConsents() }, status: 403, title: "Forbidden"},
		"token over":          {before: func(f *fixture) { f.time.advance(time.Hour) }, status: 401, title: "Unauthorized"},
		"bank down":           {options: []ApproveOption{As("john", "error")}, status: 503, title: "Service Unavailable Error"},
		"bank broken":         {options: []ApproveOption{As("error.internal_error", "error")}, status: 500, title: "Internal Server Error"},
		"bank account locked": {options: []ApproveOption{As("error.account_permanently_locked", "error")}, status: 403, title: "Forbidden"},
		"rate limit":          {before: func(f *fixture) { f.Fail(Verify, Fault{Status: 429}) }, status: 429, title: "Too Many Requests"},
		"slow bank":           {before: func(f *fixture) { f.Fail(Verify, Fault{Status: 504}) }, status: 504, title: "Gateway Timeout"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			if tt.scope == "" {
				tt.scope = "verification"
			}
			if tt.name == "" {
				tt.name = "John Doe"
			}
			token := f.accessToken(tt.scope, tt.options...)
			if tt.before != nil {
				tt.before(f)
			}
			r := f.verify(tt.name, token)
			var got problem
			r.decode(t, &got)
			if r.status != tt.status || got.Status != tt.status || got.Title != tt.title || got.TraceID == "" {
				t.Errorf("%d %+v", r.status, got)
			}
			if !strings.HasPrefix(r.header.Get("Content-Type"), "application/problem+json") {
				t.Errorf("Content-Type %s", r.header.Get("Content-Type"))
			}
		})
	}
}

func TestVerifyRefusesWhatIsNoName(t *testing.T) {
	f := start(t)
	token := f.accessToken("verification")
	for _, body := range []string{"", "[]", "{}", `{"name":1}`, `{"name":null}`} {
		r := f.send(http.MethodPost, "/verification/v1/verify", "application/json", body, "Authorization", "Bearer "+token)
		var got problem
		r.decode(t, &got)
		if r.status != http.StatusBadRequest || len(got.Errors["name"]) != 1 {
			t.Errorf("%q: %d %s", body, r.status, r.body)
		}
	}
}

func TestDataAPI(t *testing.T) {
	f := start(t)
	token := f.accessToken("info accounts", As("john12", "doe12"))
	tests := map[string][]string{
		"/data/v1/me":       {`"client_id":"sandbox-test"`, `"consent_status":"Authorised"`, `"provider_id":"mock"`, `"consent_expires_at":"2026-05-30T12:00:00.000Z"`},
		"/data/v1/info":     {`"full_name":"Amina Carter"`},
		"/data/v1/accounts": {`"account_type":"TRANSACTION"`, `"account_type":"SAVINGS"`, `"sort_code":"00-00-01"`, `"currency":"GBP"`},
	}
	for path, wants := range tests {
		r := f.get(path, token)
		for _, want := range append(wants, `"results":[`, `"status":"Succeeded"`) {
			if r.status != http.StatusOK || !strings.Contains(r.body, want) {
				t.Errorf("%s: %d %s, want %s in it", path, r.status, r.body, want)
			}
		}
	}
}

func TestDataAPIRefuses(t *testing.T) {
	tests := map[string]struct {
		path   string
		scope  string
		before func(*fixture)
		as     []ApproveOption
		status int
		code   string
	}{
		"info without its scope":     {path: "info", scope: "accounts", status: 403, code: "access_denied"},
		"accounts without its scope": {path: "accounts", scope: "info", status: 403, code: "access_denied"},
		"an unknown account":         {path: "accounts/f1234560abf9f57287637624def390871", status: 404, code: "account_not_found"},
		"an account, no scope":       {path: "accounts/x", scope: "info", status: 403, code: "access_denied"},
		"below an account":           {path: "accounts/x/balance", status: 501, code: "endpoint_not_supported"},
		"a fault, 404":               {path: "me", before: func(f *fixture) { f.Fail(Data, Fault{Status: 404}) }, status: 404, code: "account_not_found"},
		"a fault, 400":               {path: "me", before: func(f *fixture) { f.Fail(Data, Fault{Status: 400}) }, status: 400, code: "validation_error"},
		"not simulated":              {path: "cards", status: 501, code: "endpoint_not_supported"},
		"token over":                 {path: "me", before: func(f *fixture) { f.time.advance(time.Hour) }, status: 401, code: "invalid_token"},
		"consent over":               {path: "me", before: func(f *fixture) { f.time.advance(90 * 24 * time.Hour) }, status: 403, code: "access_denied"},
		"revoked":                    {path: "me", before: func(f *fixture) { f.RevokeConsents() }, status: 403, code: "access_denied"},
		"provider error":             {path: "me", as: []ApproveOption{As("john1", "error")}, status: 503, code: "provider_error"},
		"input required":             {path: "me", as: []ApproveOption{As("error.user_input_required", "error")}, status: 403, code: "sca_exceeded"},
		"fault":                      {path: "me", before: func(f *fixture) { f.Fail(Data, Fault{Status: 429}) }, status: 429, code: "provider_too_many_requests"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			if tt.scope == "" {
				tt.scope = "info accounts"
			}
			token := f.accessToken(tt.scope, tt.as...)
			if tt.before != nil {
				tt.before(f)
			}
			r := f.get("/data/v1/"+tt.path, token)
			if code := r.errorCode(t); r.status != tt.status || code != tt.code {
				t.Errorf("%d %s, want %d %s", r.status, code, tt.status, tt.code)
			}
		})
	}
}

func TestOnlyTheChosenAccountsAreShown(t *testing.T) {
	f := start(t)
	all := accountsOf(person{user: "john", name: "John Doe"}, mock)
	c := &connection{person: person{name: "John Doe"}, accounts: chosen(slices.Clone(all), []string{all[1].ID})}
	if list := f.dataAccounts(c, ""); len(list) != 1 {
		t.Errorf("%d accounts, want the chosen one", len(list))
	}
	for id, want := range map[string]int{all[1].ID: 1, all[0].ID: 0} {
		if list := f.dataAccounts(c, id); len(list) != want {
			t.Errorf("%d accounts with the id %s, want %d", len(list), id, want)
		}
	}
}

func TestBearerRefused(t *testing.T) {
	f := start(t)
	good := f.accessToken("info")
	parts := strings.Split(good, ".")
	tests := map[string][]string{
		"none":            nil,
		"no token":        {"Authorization", "Bearer "},
		"basic":           {"Authorization", "Basic " + good},
		"two":             {"Authorization", "Bearer " + good, "Authorization", "Bearer " + good},
		"no JWT":          {"Authorization", "Bearer opaque"},
		"other signature": {"Authorization", "Bearer " + parts[0] + "." + parts[1] + "." + encode(make([]byte, 256))},
		"other payload":   {"Authorization", "Bearer " + parts[0] + "." + segment(claims{Expires: 1 << 40}) + "." + parts[2]},
		"alg none":        {"Authorization", "Bearer " + segment(map[string]string{"alg": "none"}) + "." + parts[1] + "."},
	}
	for name, header := range tests {
		if r := f.send(http.MethodGet, "/data/v1/me", "", "", header...); r.status != 401 || r.errorCode(t) != "invalid_token" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := f.send(http.MethodGet, "/data/v1/me", "", "", "Authorization", "bearer "+good); r.status != 200 {
		t.Errorf("the scheme in lower case: %d %s", r.status, r.body)
	}
}

func TestOnlyLatestToken(t *testing.T) {
	f := start(t)
	first := f.tokens(exchangeForm(f.code()))
	second := f.tokens(refreshForm(first.RefreshToken))
	if r := f.get("/data/v1/me", first.AccessToken); r.status != 200 {
		t.Errorf("the first token ended without the setting: %s", r.body)
	}
	f.Set(func(s *Settings) { s.OnlyLatestToken = true })
	if r := f.get("/data/v1/me", first.AccessToken); r.status != 401 {
		t.Errorf("the first token: %d", r.status)
	}
	if r := f.get("/data/v1/me", second.AccessToken); r.status != 200 {
		t.Errorf("the latest token: %d", r.status)
	}
}

func TestDelete(t *testing.T) {
	f := start(t)
	token := f.accessToken("info")
	if r := f.disconnect(token); r.status != 200 || r.body != "" {
		t.Errorf("%d %q, want 200 and nothing", r.status, r.body)
	}
	if r := f.disconnect(token); r.status != 401 || r.errorCode(t) != "unauthorized" {
		t.Errorf("again: %d %s", r.status, r.body)
	}
	if r := f.get("/data/v1/me", token); r.status != 401 {
		t.Errorf("the token afterwards: %d", r.status)
	}
}

func TestIBANsPassTheirChecksum(t *testing.T) {
	for _, p := range []person{{user: "john"}, {user: "john9", number: 9, iban: true}} {
		for _, a := range accountsOf(p, mock)[:2] {
			var digits strings.Builder
			for _, r := range a.IBAN[4:] + a.IBAN[:4] {
				if r >= 'A' {
					fmt.Fprint(&digits, r-'A'+10)
				} else {
					digits.WriteRune(r)
				}
			}
			n, _ := new(big.Int).SetString(digits.String(), 10)
			if n.Mod(n, big.NewInt(97)).Int64() != 1 {
				t.Errorf("%s fails its checksum", a.IBAN)
			}
		}
	}
}

func TestMockNamesDiffer(t *testing.T) {
	seen := map[string]int{}
	for n := range 101 {
		if other, taken := seen[mockName(n)]; taken {
			t.Errorf("john%d and john%d are both %s", other, n, mockName(n))
		}
		seen[mockName(n)] = n
	}
}
