package authserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func testClient(base string) *Client {
	return &Client{Server: NewServer(base), ID: "client", Secret: NewSecret("hunter2"), Now: time.Now}
}

func TestAuthLink(t *testing.T) {
	link := testClient("https://auth.example/").AuthLink(AuthorizationRequest{
		RedirectURI: "https://app.example.com/truelayer",
		Scopes:      []string{"info", "accounts"},
		Providers:   []string{"uk-ob-all", "uk-oauth-all"},
		ProviderID:  "ob-monzo",
		State:       "the-state",
		// the example of RFC 7636 appendix B
		Verifier: NewSecret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
		Params:   map[string]string{"tracking_id": "a&b"},
	})
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "https" || u.Host != "auth.example" || u.Path != "/" {
		t.Errorf("link %s", link)
	}
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "client", "redirect_uri": "https://app.example.com/truelayer",
		"scope": "info accounts", "providers": "uk-ob-all uk-oauth-all", "provider_id": "ob-monzo", "state": "the-state",
		"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256", "tracking_id": "a&b",
	} {
		if got := u.Query()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	bare, err := url.Parse(testClient("https://auth.example").AuthLink(AuthorizationRequest{RedirectURI: "r", Scopes: []string{"s"}, State: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"code_challenge", "code_challenge_method", "providers", "provider_id"} {
		if bare.Query().Has(name) {
			t.Errorf("%s is there without a value", name)
		}
	}
}

func TestExchangeRequest(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got = r
		fmt.Fprint(w, `{"access_token":"a","token_type":"bearer","expires_in":60,"refresh_token":"r","scope":"b c"}`)
	}))
	defer server.Close()
	c := testClient(server.URL)
	before := time.Now().Truncate(time.Second)
	token, err := c.Exchange(t.Context(), "the-code", "https://app.example.com/truelayer", NewSecret("verifier"))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"client"}, "client_secret": {"hunter2"}, "code": {"the-code"},
		"redirect_uri": {"https://app.example.com/truelayer"}, "code_verifier": {"verifier"},
	}
	if got.URL.Path != "/connect/token" || got.URL.RawQuery != "" || got.PostForm.Encode() != want.Encode() || got.Header.Get("Authorization") != "" {
		t.Errorf("%s %v %v", got.URL, got.PostForm, got.Header)
	}
	if token.Access.Reveal() != "a" || token.Refresh.Reveal() != "r" || strings.Join(token.Scopes, ",") != "b,c" {
		t.Errorf("token %q %q %q", token.Access.Reveal(), token.Refresh.Reveal(), token.Scopes)
	}
	if token.Expires.Before(before.Add(time.Minute)) || token.Expires.After(time.Now().Add(time.Minute)) {
		t.Errorf("expires %v", token.Expires)
	}
	if _, err := c.Exchange(t.Context(), "c", "r", Secret{}); err != nil || got.PostForm.Has("code_verifier") {
		t.Errorf("without PKCE: %v %v", err, got.PostForm)
	}
}

// TestErrorsAreSilent: an error says what happened and repeats nothing.
func TestErrorsAreSilent(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"invalid_grant","error_description":"canary"}`: "refused with invalid_grant",
		`{"error":"canary with spaces"}`:                         "answered 400 without a readable error code",
		`{"error":["canary"]}`:                                   "answered 400 without a readable error code",
		`<h1>canary</h1>`:                                        "answered 400 without a readable error code",
		`{"error":"a","error":"canary"}`:                         "answered 400 without a readable error code",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-TL-Correlation-Id", "abc-123")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, body)
		}))
		_, err := testClient(server.URL).Exchange(t.Context(), "canary-code", "r", NewSecret("canary-verifier"))
		server.Close()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "abc-123") {
			t.Errorf("%s: got error %v, want %q", body, err, want)
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "canary") || strings.Contains(text, "hunter2") {
			t.Errorf("%s: the error repeats something: %s", body, text)
		}
	}
	_, err := testClient("http://127.0.0.1:1").Exchange(t.Context(), "canary-code", "r", Secret{})
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestClaims(t *testing.T) {
	jwt := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	}
	monzo := Claims{Subject: "c0nn=", Provider: "ob-monzo"}
	until := monzo
	until.ConsentEnds = time.Unix(1_800_000_000, 0)
	with := func(member string) string { return jwt(`{"sub":"c0nn=",` + member + `"connector_id":"ob-monzo"}`) }
	for access, want := range map[string]Claims{
		"opaque":   {},
		"a.b":      {},
		"a.!.c":    {},
		jwt("[]"):  {},
		jwt(`{"a`): {},
		jwt(`{}`):  {},
		with(``):   monzo,
		jwt(`{"sub":"a\nb","connector_id":"a b"}`):        {},
		jwt(`{"sub":"` + strings.Repeat("s", 200) + `"}`): {},
		jwt(`{"sub":"caf\u00e9","connector_id":"ob-x"}`):  {Provider: "ob-x"},
		// one that is odd takes no other with it
		jwt(`{"sub":7,"connector_id":"ob-monzo"}`):       {Provider: "ob-monzo"},
		jwt(`{"sub":null,"connector_id":"ob-monzo"}`):    {Provider: "ob-monzo"},
		jwt(`{"sub":["c"],"connector_id":"ob-monzo"}`):   {Provider: "ob-monzo"},
		jwt(`{"sub":"c0nn=","connector_id":{"id":"x"}}`): {Subject: "c0nn="},
		jwt(`{"SUB":"x","connector_id":"ob-monzo"}`):     {Provider: "ob-monzo"},
		// a member twice could be read in two ways, as in an answer
		with(`"sub":"other",`):                                     {},
		with(`"x":1,"x":1,`):                                       {},
		with(`"consent_expiry_time":1800000000,`):                  until,
		with(`"consent_expiry_time":1800000000.9,`):                until,
		with(`"consent_expiry_time":18e8,`):                        until,
		with(`"consent_expiry_time":"1800000000",`):                until,
		with(`"consent_expiry_time":"2027-01-15T08:00:00Z",`):      until,
		with(`"consent_expiry_time":"2027-01-15T09:00:00+01:00",`): until,
	} {
		if got := readClaims(access); got != want {
			t.Errorf("%s: got %+v, want %+v", access, got, want)
		}
	}
	for _, odd := range []string{
		`null`, `true`, `[1800000000]`, `{}`, `""`, `"soon"`, `"null"`, `"NaN"`, `"0x6b49d200"`, `"1_800_000_000"`, `"2027-01-15"`,
		`0`, `-1`, `1e10`, `1800000000000`, `1e999`, `"1e999"`, `"-5"`, `"1969-01-01T00:00:00Z"`, `"9999-01-01T00:00:00Z"`, `"\"1800000000\""`,
	} {
		if got := readClaims(with(`"consent_expiry_time":` + odd + `,`)); got != monzo {
			t.Errorf("%s: got %+v", odd, got)
		}
	}
}

func TestSecretIsRedacted(t *testing.T) {
	s := NewSecret("hunter2")
	text, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s) + string(text); strings.Contains(all, "hunter2") || strings.Contains(all, fmt.Sprintf("%x", "hunter2")) {
		t.Error(all)
	}
	if s.Reveal() != "hunter2" || (Secret{}).Reveal() != "" {
		t.Error("the text is lost")
	}
}

// FuzzTokenAnswer: what is accepted can stand in a header field, and expires,
// and another reader of JSON finds the same in it.
func FuzzTokenAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","token_type":"bearer","expires_in":60}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":60,"refresh_token":"r","scope":"a b","x":{"y":[1]}}`,
		`{"access_token":"a","access_token":"b"}`, `[]`, `{`, `{}{}`, `null`, `{"expires_in":1e3}`,
		`{"access_token":"a","token_type":"bearer","expires_in":"60"}`, `{"access_token":"a","token_type":"bearer","expires_in":6e1}`,
		`{"access_token":"a","token_type":"bearer"}`, `{"access_token":"e30.eyJleHAiOjE4MDAwMDAwNjB9.","token_type":"bearer"}`,
	} {
		f.Add([]byte(seed))
	}
	sent := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		token, err := readToken(body, sent)
		if err != nil {
			return
		}
		if !token.Expires.After(sent) || token.Expires.After(sent.AddDate(2, 0, 0)) {
			t.Errorf("expires %v", token.Expires)
		}
		for _, text := range []string{token.Access.Reveal(), token.Refresh.Reveal()} {
			if strings.ContainsFunc(text, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
				t.Errorf("a token that cannot stand in a header field: %q", text)
			}
		}
		if token.Access.Reveal() == "" {
			t.Error("no token")
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var answer map[string]any
		if err := dec.Decode(&answer); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		kind, _ := answer["token_type"].(string)
		if answer["access_token"] != token.Access.Reveal() || !strings.EqualFold(kind, "bearer") {
			t.Errorf("%q: accepted with the token %q of type %q", body, token.Access.Reveal(), kind)
		}
		if !saysExpiry(answer["expires_in"], token, sent) {
			t.Errorf("%q: expires after %s, by %s", body, token.Expires.Sub(sent), token.ExpiresBy)
		}
	})
}

// saysExpiry reports whether the expires_in that another reader found is the
// one that was taken.
func saysExpiry(expiresIn any, token Token, sent time.Time) bool {
	switch value := expiresIn.(type) {
	case nil:
		return token.ExpiresBy != "expires_in"
	case json.Number:
		seconds, err := value.Float64()
		return err == nil && token.ExpiresBy == "expires_in" && token.Expires.Sub(sent).Seconds() == seconds
	case string:
		var number json.Number
		return json.Unmarshal([]byte(value), &number) == nil && saysExpiry(number, token, sent)
	}
	return false
}

// FuzzAccessTokenJWT: what a token says of itself can stand in a header field
// or a log, and is no time out of this world; and only one type passes.
func FuzzAccessTokenJWT(f *testing.F) {
	f.Add("eyJ0eXAiOiJhdCtqd3QifQ.e30.c2ln")
	f.Add("..")
	f.Add("")
	for _, claims := range []string{
		`{"sub":"c0nn=","connector_id":"ob-monzo","consent_expiry_time":1800000000}`,
		`{"sub":"a\nb","connector_id":"\u0000","consent_expiry_time":1e300}`, `{"consent_expiry_time":-1}`, `{"consent_expiry_time":0.5}`,
		`{"sub":7,"connector_id":"ob-monzo","consent_expiry_time":"1800000000"}`, `{"consent_expiry_time":"2027-01-15T08:00:00Z","exp":"1e9"}`,
	} {
		f.Add("eyJ0eXAiOiJKV1QifQ." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".")
	}
	f.Fuzz(func(t *testing.T, raw string) {
		claims := readClaims(raw)
		for _, text := range []string{claims.Subject, claims.Provider} {
			if len(text) > 128 || strings.ContainsFunc(text, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
				t.Errorf("%q says %q", raw, text)
			}
		}
		if ends := claims.ConsentEnds; !ends.IsZero() && (ends.Before(time.Unix(0, 0)) || ends.Year() > 2286) {
			t.Errorf("%q: the consent ends %v", raw, ends)
		}
		if !isAccessTokenJWT(raw) {
			return
		}
		head, _, _ := strings.Cut(raw, ".")
		decoded, err := base64.RawURLEncoding.DecodeString(head)
		var header map[string]any
		if err != nil || json.Unmarshal(decoded, &header) != nil {
			t.Fatalf("%q has no header", raw)
		}
		typ, _ := header["typ"].(string)
		if !strings.EqualFold(typ, "at+jwt") && !strings.EqualFold(typ, "application/at+jwt") {
			t.Errorf("%q passed with the type %q", decoded, typ)
		}
	})
}
