package tlapi

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// verifyAt asks an API that answers with a status and a body.
func verifyAt(t *testing.T, clientIP string, status int, answer string) (NameVerification, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.String() != "/verification/v1/verify" || r.Header.Get("Content-Type") != "application/json" ||
			r.Header.Get("Authorization") != "Bearer hunter2" || string(body) != `{"name":"Ada \"L\""}` || r.Header.Get("X-PSU-IP") != clientIP {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
		w.Header().Set("X-Tl-Correlation-Id", "corr-1")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	return VerifyName(t.Context(), authserver.NewServer(server.URL), authserver.NewSecret("hunter2"), `Ada "L"`, clientIP, time.Now)
}

// TestVerifyName: what the bank says is read, with whatever is missing.
func TestVerifyName(t *testing.T) {
	const card = `{"verifiable":false,"failure_code":"CREDIT_CARD"}`
	unusable := errors.New("unusable")
	for name, test := range map[string]struct {
		answer string
		want   NameVerification
		err    error
	}{
		"match":              {`{"verified":true,"account_holder_name":"Jack","match_score":89,"report":[{"verifiable":true},` + card + `]}`, NameVerification{true, 89, "Jack"}, nil},
		"no match":           {`{"verified":false,"account_holder_name":"Jack","match_score":30,"report":[{"verifiable":true}]}`, NameVerification{false, 30, "Jack"}, nil},
		"several holders":    {`{"verified":true,"account_holder_name":["Jack","Jill"],"match_score":100}`, NameVerification{true, 100, "Jack"}, nil},
		"without a score":    {`{"verified":true}`, NameVerification{true, -1, ""}, nil},
		"odd scores":         {`{"verified":false,"match_score":"30"}`, NameVerification{false, -1, ""}, nil},
		"a score of 101":     {`{"verified":false,"match_score":101}`, NameVerification{false, -1, ""}, nil},
		"a broken score":     {`{"verified":false,"match_score":30.5}`, NameVerification{false, -1, ""}, nil},
		"zero":               {`{"verified":false,"match_score":0,"report":[{"verifiable":true}]}`, NameVerification{false, 0, ""}, nil},
		"cards only":         {`{"verified":false,"match_score":0,"report":[` + card + `]}`, NameVerification{}, ErrNotVerifiable},
		"a failure":          {`{"failure_code":"X","failure_description":"hunter2"}`, NameVerification{}, ErrNotVerifiable},
		"a failure of one":   {`{"verified":false,"failure_code":"X","report":[{"verifiable":true}],"match_score":3}`, NameVerification{false, 3, ""}, nil},
		"nothing said":       {`{}`, NameVerification{}, unusable},
		"null":               {`{"verified":null}`, NameVerification{}, unusable},
		"a text":             {`{"verified":"true"}`, NameVerification{}, unusable},
		"an array":           {`[{"verified":true}]`, NameVerification{}, unusable},
		"html":               {`<html>hunter2`, NameVerification{}, unusable},
		"an odd report":      {`{"verified":false,"report":{}}`, NameVerification{false, -1, ""}, nil},
		"nothing verifiable": {`{"verified":false,"report":[{}]}`, NameVerification{false, -1, ""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verifyAt(t, "192.0.2.1", http.StatusOK, test.answer)
			switch {
			case test.err == nil && (err != nil || got != test.want),
				errors.Is(test.err, ErrNotVerifiable) != errors.Is(err, ErrNotVerifiable),
				test.err != nil && (err == nil || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestVerifyNameRefused: the two kinds of 400 are told apart, and an error says what the
// call was and nothing of the answer.
func TestVerifyNameRefused(t *testing.T) {
	for _, test := range []struct {
		status      int
		answer      string
		notVerified bool
	}{
		{400, `{"type":"t","title":"No suitable accounts to verify.","status":400,"detail":"No Current or Savings account's found to verify.","traceId":"x"}`, true},
		{400, `{"errors":{"name":["The field Name must be a string with a maximum length of 200."]},"title":"One or more validation errors occurred.","status":400}`, false},
		{400, `{"errors":[{"propertyName":"name"}],"title":"One or more validation errors occurred."}`, false},
		{400, `{"error":"deprecated_provider"}`, true},
		{400, `{"error":"validation_error"}`, false},
		{400, `<html>`, false},
		{401, `{"title":"Unauthorized","detail":"hunter2"}`, false},
		{403, `{"title":"Forbidden","detail":"hunter2"}`, false},
		{429, `{"title":"Too Many Requests"}`, false},
		{503, ``, false},
		{302, ``, false},
	} {
		_, err := verifyAt(t, "", test.status, test.answer)
		if errors.Is(err, ErrNotVerifiable) != test.notVerified {
			t.Errorf("%d %s: %v", test.status, test.answer, err)
		}
		if answer, ok := errors.AsType[*authserver.Error](err); ok == test.notVerified || ok && (answer.Status != test.status || answer.RetryAfter != 7*time.Second || answer.CorrelationID != "corr-1" || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%d: %v", test.status, err)
		}
	}
}
