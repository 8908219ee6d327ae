package integration

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestVerifyNameOfBasicAuth: the name may be the user of basic_auth, whose placeholder is
// the connection afterwards. An address for calls that are limited goes along, or not.
func TestVerifyNameOfBasicAuth(t *testing.T) {
	var addresses []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"John Doe"`) || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			t.Errorf("%v %s", r.Header, body)
		}
		addresses = append(addresses, r.Header.Get("X-Psu-Ip"))
		_, _ = io.WriteString(w, `{"verified":true,"account_holder_name":"John Doe","match_score":97}`)
	}))
	defer api.Close()
	for _, more := range []string{"", "omit_client_ip\nexpose_account_holder"} {
		w := start(t, plain, func(w *world) {
			// the password is "hiccup"
			w.Before = "basic_auth {\n\"John Doe\" $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}"
			w.Options = "verify_name {http.auth.user.id} {\napi " + api.URL + "\n" + more + "\n}"
			w.After = `request_header X-Verification "{http.truelayer.verification} {http.truelayer.match_score} {http.truelayer.account_holder} {http.auth.user.id}"`
		})
		b := w.browser()
		auth := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("John Doe:hiccup"))}
		sent := b.do(http.MethodGet, w.Site+"/page", append(auth, asNavigation...)...)
		callback, err := w.sim.Grant(sent.location())
		if err != nil {
			t.Fatal(sent.StatusCode, sent.location(), err)
		}
		b.do(http.MethodGet, callback, append(auth, asNavigation...)...)
		b.do(http.MethodGet, w.Site+"/page", append(auth, asNavigation...)...)
		_, seen := w.app.requests()
		told := strings.Split(seen.Header.Get("X-Verification"), " ")
		if told[0] != "match" || told[1] != "97" || strings.Contains(seen.Header.Get("X-Verification"), "John Doe") != (more != "") || told[len(told)-1] == "Doe" {
			t.Errorf("%q", told)
		}
	}
	if fmt.Sprint(addresses) != "[127.0.0.1 ]" && fmt.Sprint(addresses) != "[::1 ]" {
		t.Errorf("%q", addresses)
	}
}

// TestVerifyNameOfTwoBlocks: a block behind another one compares whom basic_auth has signed
// in, and not the connection that the first one has put in its place.
func TestVerifyNameOfTwoBlocks(t *testing.T) {
	var names []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		names = append(names, string(body))
		_, _ = io.WriteString(w, `{"verified":true,"match_score":90}`)
	}))
	defer api.Close()
	verified := "verify_name {http.auth.user.id} {\napi " + api.URL + "\n}"
	second := `	truelayer /page* {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/second
		auth_server   {{.AuthServer}}
		` + verified + `
	}
	{{.After}}`
	for _, before := range []string{"", "basic_auth {\n\"John Doe\" $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}"} {
		names = nil
		w := start(t, strings.Replace(plain, "	{{.After}}", second, 1), func(w *world) {
			w.Before, w.Options = before, verified
			w.After = `request_header X-Verification "{http.truelayer.verification}"`
		})
		b := w.browser()
		headers := append([]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("John Doe:hiccup"))}, asNavigation...)
		want, questions := "match", `[{"name":"John Doe"}]`
		if before == "" {
			headers, want, questions = asNavigation, "not_asked", "[]"
		}
		callback, err := w.sim.Grant(b.do(http.MethodGet, w.Site+"/x", headers...).location())
		if err != nil {
			t.Fatal(err)
		}
		b.do(http.MethodGet, callback, headers...)
		for range 3 {
			b.do(http.MethodGet, w.Site+"/page", headers...)
			_, seen := w.app.requests()
			equal(t, "told", seen.Header.Get("X-Verification"), want)
		}
		equal(t, "asked", strings.ReplaceAll(fmt.Sprint(names), "\n", ""), questions)
	}
}
