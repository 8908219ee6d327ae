package tlapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// list lists the providers of a server that answers with the body.
func list(t *testing.T, status int, body string) (ProviderList, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.String() != "/api/providers?clientId=a%26b" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		w.Header().Set("Date", "Tue, 01 Dec 2026 08:00:00 GMT")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	return ListProviders(t.Context(), authserver.NewServer(server.URL), "a&b")
}

// TestListProviders: each list that can be understood is, whatever is wrong with parts
// of it.
func TestListProviders(t *testing.T) {
	monzo := Provider{ID: "ob-monzo", Name: "Monzo", Country: "uk", LogoURL: "https://logo.example/m.svg", Scopes: []string{"info"}, Status: "healthy"}
	for name, test := range map[string]struct {
		body string
		want []Provider
	}{
		"whole": {`[{"provider_id":"ob-monzo","display_name":"Monzo","country":"uk","logo_url":"https://logo.example/m.svg","scopes":["info"],
			"steps":[],"availability":{"recommended_status":"healthy","updated_at":"2026-01-01T00:00:00Z"}}]`, []Provider{monzo}},
		"object":        {`{"provider_id":"ob-monzo"}`, []Provider{{ID: "ob-monzo"}}},
		"empty":         {`[]`, []Provider{}},
		"odd entries":   {`[1,null,"x",{},{"provider_id":7},{"provider_id":"a b"},{"provider_id":"ob-b"}]`, []Provider{{ID: "ob-b"}}},
		"odd fields":    {`[{"provider_id":"ob-b","display_name":{},"country":null,"scopes":"info","availability":[]}]`, []Provider{{ID: "ob-b"}}},
		"odd status":    {`[{"provider_id":"ob-b","availability":{"recommended_status":1}}]`, []Provider{{ID: "ob-b"}}},
		"much too long": {`[{"provider_id":"` + strings.Repeat("x", maxID+1) + `"}]`, []Provider{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, http.StatusOK, test.body)
			if err != nil || !reflect.DeepEqual(got.Providers, test.want) {
				t.Errorf("%+v, %v", got.Providers, err)
			}
			if want := time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC); !got.Date.Equal(want) || got.Status != http.StatusOK {
				t.Errorf("%v, %d", got.Date, got.Status)
			}
		})
	}
}

// TestListProvidersFails: what is no list is an error, which repeats none of it, and the
// date is there.
func TestListProvidersFails(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
	}{
		"status":       {http.StatusInternalServerError, `[]`},
		"redirect":     {http.StatusFound, ``},
		"html":         {http.StatusOK, `<html>hunter2`},
		"other object": {http.StatusOK, `{"error":"hunter2"}`},
		"too large":    {http.StatusOK, `[` + strings.Repeat(" ", maxProviders) + `]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, test.status, test.body)
			if err == nil || strings.Contains(err.Error(), "hunter2") || got.Providers != nil {
				t.Errorf("%+v, %v", got, err)
			}
			if got.Date.IsZero() || got.Status != test.status {
				t.Errorf("%v, %d", got.Date, got.Status)
			}
		})
	}
}

// TestListProvidersWithoutAnswer: a call ends with its context, and has no status.
func TestListProvidersWithoutAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := ListProviders(ctx, authserver.NewServer("http://127.0.0.1:1"), "client")
	if err == nil || got.Status != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
