package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demotest"
)

// TestAPI: the page's script reaches one call of the API, with a session only.
func TestAPI(t *testing.T) {
	const verify = "/bank/verification/v1/verify"
	site := demotest.Start(t, example())
	v := demotest.NewVisitor(t, site)
	for path, want := range map[string]string{"/": `<script src="/page.js" defer>`, "/page.js": verify, "/style.css": "color-scheme"} {
		demotest.Contains(t, path, v.Open(path).Text, want)
	}
	if answer := v.Fetch(http.MethodPost, verify, `{"name":"John Doe"}`); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a session: %s", answer.Status)
	}

	if back := v.Connect(v.Open("/truelayer/login?return=/").Location); back != "/" {
		t.Errorf("the callback leads to %q", back)
	}
	demotest.Contains(t, "the session", v.Fetch(http.MethodGet, "/truelayer/session", "").Text, `"connected":true`)
	for name, want := range map[string]bool{"John Doe": true, "Jane Carter": false} {
		answer := v.Fetch(http.MethodPost, verify, `{"name":"`+name+`"}`)
		var result struct {
			Verified bool `json:"verified"`
			Report   []struct {
				Holders []struct {
					Verified bool `json:"verified"`
				} `json:"account_holders"`
			} `json:"report"`
		}
		if err := json.Unmarshal([]byte(answer.Text), &result); err != nil || result.Verified != want || len(result.Report) == 0 || result.Report[0].Holders[0].Verified != want {
			t.Errorf("%s: %s %s: %v", name, answer.Status, answer.Text, err)
		}
		if strings.Contains(answer.Text, "eyJ") {
			t.Errorf("the answer has a token in it: %s", answer.Text)
		}
	}
	for _, other := range []string{"GET /bank/data/v1/me", "GET " + verify, "POST /bank/connect/token", "GET /bank/simulator/calls"} {
		method, path, _ := strings.Cut(other, " ")
		if answer := v.Fetch(method, path, ""); answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s reaches the API: %s %s", other, answer.Status, answer.Text)
		}
	}
}
