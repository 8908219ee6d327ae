package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// levels returns the level of each check of the first block in an answer.
func levels(t *testing.T, answer map[string]any) map[string]string {
	t.Helper()
	text, _ := json.Marshal(answer) // it was JSON
	var decoded struct {
		Blocks []struct {
			Site     string
			Findings []struct{ Check, Level, Seen, Remedy string }
		}
	}
	if err := json.Unmarshal(text, &decoded); err != nil || len(decoded.Blocks) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	if strings.Contains(string(text), clientSecret) {
		t.Errorf("the secret is in %s", text)
	}
	found := make(map[string]string)
	for _, f := range decoded.Blocks[0].Findings {
		found[f.Check] = f.Level
		if f.Level == "failure" && f.Remedy == "" {
			t.Errorf("%s has no remedy", f.Check)
		}
	}
	return found
}

// TestAdminDoctor: the doctor checks the blocks that serve requests, as the last reload
// has left them, and its calls are not counted as logins.
func TestAdminDoctor(t *testing.T) {
	w := startAdmin(t, "")
	site := strings.TrimPrefix(w.Site, "http://") + "/truelayer"
	doctor := func(body string) (bool, map[string]string) {
		status, answer := w.admin(http.MethodPost, "doctor", body)
		equal(t, "status", status, http.StatusOK)
		well, _ := answer["ok"].(bool)
		return well, levels(t, answer)
	}
	well, found := doctor(`{}`)
	if !well || len(found) != 10 {
		t.Errorf("%v: %v", well, found)
	}
	for check, level := range found {
		equal(t, check, level, "ok")
	}
	if strings.Contains(w.metrics(), `caddy_truelayer_token_requests_total{grant="authorization_code",result="invalid_grant",site="`+site+`"} 1`) {
		t.Error("the invented code is counted as a login")
	}

	_, found = doctor(`{"offline":true,"site":"` + site + `"}`)
	equal(t, "offline", found["token endpoint"], "skipped")

	w.sim.Fail(simulator.Token, simulator.Fault{Status: http.StatusServiceUnavailable})
	w.Options += "\nidle_timeout 3h"
	if err := w.load(strings.Replace(audited, "admin off", "admin localhost:{{.Port2}}", 1)); err != nil {
		t.Fatal(err)
	}
	well, found = doctor(`{}`)
	if well || found["token endpoint"] != "failure" || found["auth link"] != "ok" {
		t.Errorf("%v: %v", well, found)
	}
}

// TestAdminAuthLinks: the links are new each time, and can be used.
func TestAdminAuthLinks(t *testing.T) {
	w := startAdmin(t, "")
	seen := make(map[string]bool)
	for range 2 {
		status, answer := w.admin(http.MethodPost, "auth-links", `{}`)
		equal(t, "status", status, http.StatusOK)
		link, _ := answer["links"].([]any)[0].(map[string]any)["url"].(string)
		if _, err := simulator.Approve(t.Context(), nil, link); err != nil || seen[link] {
			t.Errorf("%s: %v", link, err)
		}
		seen[link] = true
	}
}

// TestAdminRequests: what is no request of the admin endpoint's is refused in JSON.
func TestAdminRequests(t *testing.T) {
	w := startAdmin(t, "")
	for _, test := range []struct {
		method, path, body string
		fields             []string
		status             int
	}{
		{http.MethodGet, "doctor", "", nil, http.StatusMethodNotAllowed},
		{http.MethodPost, "nowhere", "", nil, http.StatusNotFound},
		{http.MethodGet, "", "", nil, http.StatusNotFound},
		{http.MethodPost, "doctor", "", nil, http.StatusUnsupportedMediaType},
		{http.MethodPost, "doctor", `{}`, []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
		{http.MethodPost, "doctor", `{"sites":""}`, nil, http.StatusBadRequest},
		{http.MethodPost, "doctor", `{} {}`, nil, http.StatusBadRequest},
		{http.MethodPost, "doctor", `{"site":7}`, nil, http.StatusBadRequest},
		{http.MethodPost, "doctor", `{"site":"app.example.com/nowhere"}`, nil, http.StatusNotFound},
		{http.MethodPost, "auth-links", `{"site":"app.example.com/nowhere"}`, nil, http.StatusNotFound},
		{http.MethodPost, "doctor", `{"site":"` + strings.Repeat("x", 64<<10) + `"}`, nil, http.StatusRequestEntityTooLarge},
	} {
		status, answer := w.admin(test.method, test.path, test.body, test.fields...)
		if text, _ := answer["error"].(string); status != test.status || text == "" {
			t.Errorf("%s %s %.40s: %d %v", test.method, test.path, test.body, status, answer)
		}
	}
}
