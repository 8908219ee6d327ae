package simulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What TrueLayer's API description says of a request for a direct bank link, and of
// the answer.
var (
	describedAuthURI = []string{
		"response_type", "client_id", "redirect_uri", "scope", "state", "consent_id", "user", "data_use_description",
		"provider_id", "code_challenge", "code_challenge_method", "response_mode", "auth_inputs", "tracking_id",
	}
	requiredOfAuthURI     = []string{"response_type", "client_id", "redirect_uri", "scope", "consent_id", "provider_id"}
	describedUser         = []string{"id", "name", "email", "phone"}
	describedAuthURIReply = []string{"result", "success"}
)

// authURIObject is a complete request for a direct bank link; changes are pairs of a
// name and a value, nil takes the member out.
func authURIObject(changes ...any) object {
	o := object{
		"response_type": "code", "client_id": testID, "redirect_uri": testRedirect,
		"scope": "verification accounts info offline_access", "state": "the-state", "consent_id": "consent17",
		"user":                 object{"id": "user-1", "name": "Alan Turing", "email": "alan@example.com", "phone": "+4477000000"},
		"data_use_description": "To know that you are you.", "provider_id": "ob-harbour",
		"code_challenge": challenge(), "code_challenge_method": "S256", "response_mode": "form_post",
		"auth_inputs": []any{}, "tracking_id": "track-1",
	}
	return changed(o, changes)
}

func changed(o object, changes []any) object {
	for i := 0; i+1 < len(changes); i += 2 {
		name := changes[i].(string)
		o[name] = changes[i+1]
		if changes[i+1] == nil {
			delete(o, name)
		}
	}
	return o
}

func (f *fixture) post(path string, o object) reply {
	f.t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.send(http.MethodPost, path, jsonType, string(body))
}

// bankLink is the link in an answer that has one.
func (f *fixture) bankLink(r reply) string {
	f.t.Helper()
	var got authURIResponse
	r.decode(f.t, &got)
	if r.status != http.StatusOK || !got.Success || !strings.HasPrefix(got.Result, f.url+"/bank/") {
		f.t.Fatalf("%d %s", r.status, r.body)
	}
	return got.Result
}

// directLink is a fresh link to a bank, without form_post.
func (f *fixture) directLink(changes ...any) string {
	f.t.Helper()
	return f.bankLink(f.post("/v1/authuri", authURIObject(append([]any{"response_mode", nil}, changes...)...)))
}

// reason is why a request was refused.
func (r reply) reason(t *testing.T) string {
	t.Helper()
	var e oauthError
	r.decode(t, &e)
	return e.Details["reason"]
}

func TestAuthURIAgreesWithItsDescription(t *testing.T) {
	f := start(t)
	complete := authURIObject()
	agrees(t, complete, describedAuthURI, describedAuthURI)
	agrees(t, complete["user"].(object), describedUser, describedUser)
	r := f.post("/v1/authuri", complete)
	var answer object
	r.decode(t, &answer)
	agrees(t, answer, describedAuthURIReply, describedAuthURIReply)
	if r.status != http.StatusOK || answer["success"] != true || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, name := range describedAuthURI {
		needed := slices.Contains(requiredOfAuthURI, name)
		o := authURIObject(name, nil)
		if strings.HasPrefix(name, "code_challenge") { // one needs the other
			o = authURIObject("code_challenge", nil, "code_challenge_method", nil)
		}
		r := f.post("/v1/authuri", o)
		if refused := r.status == 400 && r.errorCode(t) == "invalid_request" && strings.Contains(r.reason(t), name); refused != needed {
			t.Errorf("without %s: %d %s", name, r.status, r.body)
		}
		for _, wrong := range []any{7, true, ""} {
			if r := f.post("/v1/authuri", authURIObject(name, wrong)); r.status != 400 || !strings.Contains(r.reason(t), name) {
				t.Errorf("%s %v: %d %s", name, wrong, r.status, r.body)
			}
		}
	}
	if r := f.post("/v1/authuri", authURIObject("nonce", "x")); r.status != 400 || !strings.Contains(r.reason(t), "nonce") {
		t.Errorf("another member: %d %s", r.status, r.body)
	}
}

func TestAuthURIRefuses(t *testing.T) {
	tests := map[string]struct {
		change []any
		status int
		code   string
		reason string
	}{
		"unknown client":        {[]any{"client_id", "live-id"}, 401, "unauthorized_client", ""},
		"unregistered redirect": {[]any{"redirect_uri", testRedirect + "/"}, 401, "unauthorized_client", ""},
		"not approved":          {[]any{"client_id", "sandbox-undirect"}, 401, "unauthorized_client", ""},
		"no bank enabled":       {[]any{"client_id", "sandbox-poor"}, 400, "invalid_request", "provider_id"},
		"response_type":         {[]any{"response_type", "token"}, 400, "invalid_request", "response_type"},
		"response_mode":         {[]any{"response_mode", "query"}, 400, "invalid_request", "response_mode"},
		"unknown scope":         {[]any{"scope", "info openid"}, 400, "invalid_request", "openid"},
		"blank scope":           {[]any{"scope", " "}, 400, "invalid_request", "scope"},
		"consent_id":            {[]any{"consent_id", "a-b"}, 400, "invalid_request", "consent_id"},
		"unknown provider":      {[]any{"provider_id", "ob-nowhere"}, 400, "invalid_request", "provider_id"},
		"provider's group":      {[]any{"provider_id", "uk-ob-all"}, 400, "invalid_request", "provider_id"},
		"with its country":      {[]any{"provider_id", "uk-ob-harbour"}, 400, "invalid_request", "provider_id"},
		"plain PKCE":            {[]any{"code_challenge_method", "plain"}, 400, "invalid_request", "S256"},
		"PKCE without method":   {[]any{"code_challenge_method", nil}, 400, "invalid_request", "S256"},
		"method alone":          {[]any{"code_challenge", nil}, 400, "invalid_request", "code_challenge"},
		"short challenge":       {[]any{"code_challenge", "abc"}, 400, "invalid_request", "code_challenge"},
		"user without a name":   {[]any{"user", object{"email": "a@example.com"}}, 400, "invalid_request", "user"},
		"user by name alone":    {[]any{"user", object{"id": "1", "name": "Alan"}}, 400, "invalid_request", "email or the phone"},
		"no address":            {[]any{"user", object{"name": "Alan", "email": "Alan <a@example.com>"}}, 400, "invalid_request", "email"},
		"user as a list":        {[]any{"user", []any{"Alan"}}, 400, "invalid_request", "user"},
		"inputs as an object":   {[]any{"auth_inputs", object{"branch-name": "x"}}, 400, "invalid_request", "auth_inputs"},
		"input not asked for":   {[]any{"auth_inputs", []any{object{"branch-name": "x"}}}, 400, "invalid_request", "branch-name"},
	}
	f := startWith(t, mustNew(t, Config{Clients: []Client{
		{ID: testID, Secret: testSecret, RedirectURIs: []string{testRedirect}},
		{ID: "sandbox-undirect", Secret: "s", RedirectURIs: []string{testRedirect}, NoDirect: true},
		{ID: "sandbox-poor", Secret: "s", RedirectURIs: []string{testRedirect}, NoBanks: true},
	}}), nil)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := f.post("/v1/authuri", authURIObject(tt.change...))
			if r.status != tt.status || r.errorCode(t) != tt.code || !strings.Contains(r.reason(t), tt.reason) {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
}

func TestAuthURIReadsJSONStrictly(t *testing.T) {
	f := start(t)
	good, err := json.Marshal(authURIObject())
	if err != nil {
		t.Fatal(err)
	}
	rest := strings.TrimPrefix(string(good), "{")
	tests := map[string]struct {
		contentType, body string
		status            int
	}{
		"as it is":         {jsonType, string(good), 200},
		"with a charset":   {jsonType + "; charset=utf-8", string(good), 200},
		"user's extra":     {jsonType, strings.Replace(string(good), `"user":{`, `"user":{"title":"Dr",`, 1), 200},
		"a form":           {formType, url.Values{"client_id": {testID}}.Encode(), 400},
		"JSON as a form":   {formType, string(good), 400},
		"no content type":  {"", string(good), 400},
		"nothing":          {jsonType, "", 400},
		"a list":           {jsonType, "[" + string(good) + "]", 400},
		"null":             {jsonType, "null", 400},
		"twice":            {jsonType, `{"state":"x",` + rest, 400},
		"in another case":  {jsonType, strings.Replace(string(good), "consent_id", "Consent_ID", 1), 400},
		"user's case":      {jsonType, strings.Replace(string(good), `"name"`, `"Name"`, 1), 400},
		"a null member":    {jsonType, strings.Replace(string(good), `"the-state"`, "null", 1), 400},
		"null inputs":      {jsonType, strings.Replace(string(good), "[]", "null", 1), 400},
		"a null input":     {jsonType, strings.Replace(string(good), "[]", "[null]", 1), 400},
		"something more":   {jsonType, string(good) + "{}", 400},
		"one brace more":   {jsonType, string(good) + "}", 400},
		"cut off":          {jsonType, string(good[:len(good)-1]), 400},
		"not in UTF-8":     {jsonType, strings.Replace(string(good), "the-state", "\xff", 1), 400},
		"64 KiB":           {jsonType, string(good) + strings.Repeat(" ", maxBody-len(good)), 200},
		"more than 64 KiB": {jsonType, string(good) + strings.Repeat(" ", maxBody), 413},
	}
	for name, tt := range tests {
		if r := f.send(http.MethodPost, "/v1/authuri", tt.contentType, tt.body); r.status != tt.status {
			t.Errorf("%s: %d %s, want %d", name, r.status, r.body, tt.status)
		}
	}
	if r := f.send(http.MethodGet, "/v1/authuri", "", ""); r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", r.status)
	}
}

func TestAuthInputs(t *testing.T) {
	f := start(t)
	branch := []any{object{"branch-name": "stet-mutuelle-lavande-luberon"}}
	tests := []struct {
		bank   string
		inputs []any
		good   bool
	}{
		{"stet-mutuelle-lavande", branch, true},
		{"stet-mutuelle-lavande", nil, false},
		{"stet-mutuelle-lavande", []any{object{"branch-name": "Mutuelle Lavande du Luberon"}}, false},
		{"stet-mutuelle-lavande", []any{object{"branch-name": 1}}, false},
		{"stet-mutuelle-lavande", []any{object{"branch-name": ""}}, false},
		{"stet-mutuelle-lavande", []any{branch[0], branch[0]}, false},
		{"stet-mutuelle-lavande", []any{object{"branch-name": "stet-mutuelle-lavande-luberon", "more": "x"}}, false},
		{"stet-mutuelle-lavande", []any{object{}, branch[0]}, false},
		{"stet-mutuelle-lavande", []any{branch[0], object{"more": "x"}}, false},
		{"xs2a-sparverein", []any{object{"customer-kind": "private"}}, true},
		{"xs2a-sparverein", []any{object{"customer-kind": "private"}, object{"bank-language": "en"}}, true},
		{"xs2a-sparverein", []any{object{"customer-kind": "private"}, object{"bank-language": "la"}}, false},
		{"xs2a-sparverein", []any{object{"bank-language": "en"}}, false},
		{"xs2a-nordlicht", []any{object{"customer-number": "1234567"}}, true},
		{"xs2a-nordlicht", []any{object{"customer-number": "12"}}, false},
		{"xs2a-falkenstein", []any{object{"access-pin": "s3cret"}}, true},
		{"xs2a-falkenstein", nil, false},
		{"mock", nil, true},
	}
	for _, tt := range tests {
		o := authURIObject("provider_id", tt.bank, "auth_inputs", nil)
		if tt.inputs != nil {
			o["auth_inputs"] = tt.inputs
		}
		r := f.post("/v1/authuri", o)
		if (r.status == 200) != tt.good || !tt.good && !strings.Contains(r.reason(t), "auth_inputs") {
			t.Errorf("%s %v: %d %s", tt.bank, tt.inputs, r.status, r.body)
		}
	}
	if !slices.Contains(f.Secrets(), "s3cret") {
		t.Error("a sensitive input is not among the secrets")
	}
}

func TestAuthURIIsRemembered(t *testing.T) {
	f := start(t)
	callback, err := f.GrantDirect(f.directLink("provider_id", "xs2a-sparverein", "auth_inputs", []any{object{"customer-kind": "business"}}))
	if err != nil {
		t.Fatal(err)
	}
	want := AuthURIRequest{
		ResponseType: "code", ClientID: testID, RedirectURI: testRedirect, Scope: "verification accounts info offline_access",
		State: "the-state", ConsentID: "consent17", DataUse: "To know that you are you.", ProviderID: "xs2a-sparverein",
		User:      User{ID: "user-1", Name: "Alan Turing", Email: "alan@example.com", Phone: "+4477000000"},
		Challenge: challenge(), ChallengeMethod: "S256", AuthInputs: []AuthInput{{"customer-kind", "business"}}, TrackingID: "track-1",
	}
	if got := f.LastAuthURIRequest(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	access := f.tokens(exchangeForm(queryOf(t, callback).Get("code"), "code_verifier", testVerifier)).AccessToken
	if got, ok := f.Consent(f.claims(access).Subject); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("consented with %+v", got)
	}
	f.post("/v1/authuri", object{"client_id": "another", "more": "x"})
	if got := f.LastAuthURIRequest(); got.ClientID != "another" {
		t.Errorf("a refused request is not the last: %+v", got)
	}
	for _, subject := range []string{"", f.claims(f.accessToken("info")).Subject} {
		if got, ok := f.Consent(subject); ok {
			t.Errorf("%q consented with %+v", subject, got)
		}
	}
}

func (f *fixture) claims(accessToken string) claims {
	f.t.Helper()
	c, err := f.keys.verify(accessToken)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func TestAuthURIFailsAndCounts(t *testing.T) {
	f := start(t)
	for status, code := range map[int]string{400: "invalid_request", 401: "unauthorized", 500: "internal_server_error"} {
		for endpoint, path := range map[string]string{AuthURI: "/v1/authuri", ReauthURI: "/v1/reauthuri"} {
			f.Fail(endpoint, Fault{Times: 1, Status: status})
			if r := f.post(path, authURIObject()); r.status != status || r.errorCode(t) != code {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
		}
	}
	f.directLink()
	if f.Calls(AuthURI) != 4 || f.Calls(ReauthURI) != 3 {
		t.Errorf("%d and %d calls", f.Calls(AuthURI), f.Calls(ReauthURI))
	}
}
