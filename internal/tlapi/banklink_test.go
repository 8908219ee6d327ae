package tlapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// complete is a request with everything in it.
func complete() *BankLinkRequest {
	return &BankLinkRequest{
		ClientID: "client", RedirectURI: "https://app.example/truelayer", Scopes: []string{"verification", "offline_access"}, State: "the-state",
		Verifier: authserver.NewSecret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), ConsentID: "c0ffee", DataUse: "To know you.\n",
		User: User{Name: "Ada Lovelace", Email: "ada@example.com"}, ProviderID: "ob-monzo",
		Inputs: []Input{{"branch-name", "alsace"}, {"kind", "private"}}, TrackingID: "track",
	}
}

// askFor asks a server that answers with a status and a body for a link, and returns what
// it was sent.
func askFor(t *testing.T, q *BankLinkRequest, status int, answer string) (link string, sent map[string]any, err error) {
	t.Helper()
	return askAt(t, "/v1/authuri", status, answer, func(server *authserver.Server) (string, error) {
		return RequestBankLink(t.Context(), server, q, time.Now)
	})
}

// askAt is askFor for a call.
func askAt(t *testing.T, call string, status int, answer string, ask func(*authserver.Server) (string, error)) (link string, sent map[string]any, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.String() != call || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s", r.Method, r.URL, r.Header)
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		w.Header().Set("X-Tl-Correlation-Id", "corr-1")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	link, err = ask(authserver.NewServer(server.URL))
	return link, sent, err
}

// TestRequestBankLink: the request has what TrueLayer's description asks for, and nothing
// that was not given.
func TestRequestBankLink(t *testing.T) {
	const answer = `{"result":"https://bank.example/authorize?a=b","success":true,"more":1}`
	link, sent, err := askFor(t, complete(), http.StatusOK, answer)
	if err != nil || link != "https://bank.example/authorize?a=b" {
		t.Errorf("%s, %v", link, err)
	}
	want := map[string]any{
		"response_type": "code", "client_id": "client", "redirect_uri": "https://app.example/truelayer", "scope": "verification offline_access",
		"state": "the-state", "consent_id": "c0ffee", "data_use_description": "To know you.\n", "provider_id": "ob-monzo",
		"user": map[string]any{"name": "Ada Lovelace", "email": "ada@example.com"},
		// the example of RFC 7636, appendix B
		"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
		"auth_inputs": []any{map[string]any{"branch-name": "alsace"}, map[string]any{"kind": "private"}}, "tracking_id": "track",
	}
	if !reflect.DeepEqual(sent, want) {
		t.Errorf("sent %v", sent)
	}
	least := complete()
	least.Verifier, least.Inputs, least.TrackingID = authserver.Secret{}, nil, ""
	_, sent, _ = askFor(t, least, http.StatusOK, answer)
	for _, name := range []string{"code_challenge", "code_challenge_method", "auth_inputs", "tracking_id"} {
		delete(want, name)
	}
	if !reflect.DeepEqual(sent, want) {
		t.Errorf("sent %v", sent)
	}
}

// TestBankLinks: a browser is sent to nothing but an absolute https URL in an answer that
// says success. No error repeats the answer or the user.
func TestBankLinks(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   string
	}{
		"loopback":         {`{"result":"http://127.0.0.1:1/bank","success":true}`, "http://127.0.0.1:1/bank"},
		"long":             {`{"result":"https://bank.example/` + strings.Repeat("a", maxBankLink-21) + `","success":true}`, "https://bank.example/" + strings.Repeat("a", maxBankLink-21)},
		"too long":         {`{"result":"https://bank.example/` + strings.Repeat("a", maxBankLink-20) + `","success":true}`, ""},
		"no success":       {`{"result":"https://bank.example/"}`, ""},
		"false":            {`{"result":"https://bank.example/","success":false}`, ""},
		"a text":           {`{"result":"https://bank.example/","success":"true"}`, ""},
		"one":              {`{"result":"https://bank.example/","success":1}`, ""},
		"no result":        {`{"success":true}`, ""},
		"odd result":       {`{"result":["https://bank.example/"],"success":true}`, ""},
		"http":             {`{"result":"http://bank.example/","success":true}`, ""},
		"script":           {`{"result":"javascript:alert(1)","success":true}`, ""},
		"a path":           {`{"result":"/hunter2","success":true}`, ""},
		"without a scheme": {`{"result":"//bank.example/","success":true}`, ""},
		"without a host":   {`{"result":"https:///hunter2","success":true}`, ""},
		"opaque":           {`{"result":"https:bank.example","success":true}`, ""},
		"a user":           {`{"result":"https://hunter2@bank.example/","success":true}`, ""},
		"a backslash":      {`{"result":"https://bank.example\\@evil.example/","success":true}`, ""},
		"a line break":     {`{"result":"https://bank.example/\r\nSet-Cookie: a=b","success":true}`, ""},
		"a space":          {`{"result":" https://bank.example/","success":true}`, ""},
		"an array":         {`["https://bank.example/"]`, ""},
		"html":             {`<html>hunter2`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			link, _, err := askFor(t, complete(), http.StatusOK, test.answer)
			if link != test.want || (err == nil) != (test.want != "") {
				t.Errorf("%q, %v", link, err)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "bank.example") || !strings.Contains(err.Error(), "corr-1")) {
				t.Error(err)
			}
		})
	}
	if isBankLink("http://127.0.0.1/bank", "https://auth.truelayer.com") {
		t.Error("TrueLayer sends browsers to plain http")
	}
}

// TestBankLinkRefused: an error says what the call was, with the code and nothing else of
// the answer.
func TestBankLinkRefused(t *testing.T) {
	for _, test := range []struct {
		status       int
		answer, want string
	}{
		{400, `{"error":"invalid_request","error_details":{"reason":"ada@example.com"}}`, "/v1/authuri: refused with invalid_request"},
		{401, `{"error":"unauthorized_client"}`, "/v1/authuri: refused with unauthorized_client"},
		{429, `{"error":"too_many_requests"}`, "/v1/authuri: refused with too_many_requests"},
		{302, ``, "/v1/authuri: answered 302"},
		{500, `<html>`, "/v1/authuri: answered 500"},
	} {
		_, _, err := askFor(t, complete(), test.status, test.answer)
		answer, ok := errors.AsType[*authserver.Error](err)
		if !ok || answer.Status != test.status || answer.RetryAfter != 7*time.Second || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "ada@") {
			t.Errorf("%d: %v", test.status, err)
		}
	}
	_, err := RequestBankLink(t.Context(), authserver.NewServer("http://127.0.0.1:1"), complete(), time.Now)
	if answer, ok := errors.AsType[*authserver.Error](err); !ok || answer.Status != 0 {
		t.Error(err)
	}
}
