package tlapi

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// TestRequestRenewalLink: the request has what TrueLayer's description asks for, and nothing
// else. What is no link to a bank is none here, either, and no error repeats the token.
func TestRequestRenewalLink(t *testing.T) {
	const token = "the-refresh-token"
	q := &RenewalLinkRequest{
		Refresh: authserver.NewSecret(token), RedirectURI: "https://app.example/truelayer", State: "the-state",
		Verifier: authserver.NewSecret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
	}
	ask := func(status int, answer string) (string, map[string]any, error) {
		return askAt(t, "/v1/reauthuri", status, answer, func(server *authserver.Server) (string, error) {
			return RequestRenewalLink(t.Context(), server, q, time.Now)
		})
	}
	const answer = `{"result":"https://bank.example/authorize?a=b","success":true}`
	want := map[string]any{
		"response_type": "code", "refresh_token": token, "redirect_uri": "https://app.example/truelayer", "state": "the-state",
		"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
	}
	link, sent, err := ask(http.StatusOK, answer)
	if err != nil || link != "https://bank.example/authorize?a=b" || !reflect.DeepEqual(sent, want) {
		t.Errorf("%s, %v, sent %v", link, err, sent)
	}
	q.Verifier = authserver.Secret{}
	delete(want, "code_challenge")
	delete(want, "code_challenge_method")
	if _, sent, _ = ask(http.StatusOK, answer); !reflect.DeepEqual(sent, want) {
		t.Errorf("sent %v", sent)
	}
	for status, bodies := range map[int][]string{
		http.StatusOK:           {`{"result":"http://bank.example/","success":true}`, `{"result":"https://bank.example/"}`, `{"result":"` + token + `","success":true}`, `[]`, ""},
		http.StatusUnauthorized: {`{"error":"invalid_request","error_details":{"reason":"Invalid refresh_token"}}`, `{"error":"` + token + ` "}`},
		http.StatusNotFound:     {"<html>" + token},
	} {
		for _, body := range bodies {
			link, _, err := ask(status, body)
			failed, ok := errors.AsType[*authserver.Error](err)
			if link != "" || !ok || failed.Status != status || failed.Call != "/v1/reauthuri" || strings.Contains(err.Error(), token) {
				t.Errorf("%d %s: %q, %v", status, body, link, err)
			}
		}
	}
}
