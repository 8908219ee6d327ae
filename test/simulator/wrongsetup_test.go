package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// providersOf returns the status of each bank that a client may use.
func providersOf(t *testing.T, s *Simulator, query string) map[string]string {
	t.Helper()
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/providers"+query, nil))
	var list []provider
	if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil || answer.Code != http.StatusOK {
		t.Fatal(answer.Code, err)
	}
	found := make(map[string]string)
	for _, p := range list {
		found[p.ID] = p.Availability.Status
	}
	return found
}

// TestProvidersOfClients: an unknown client and one without banks get an empty list.
func TestProvidersOfClients(t *testing.T) {
	s, err := New(Config{Clients: []Client{
		{ID: "known", Secret: "s", RedirectURIs: []string{"https://a.example.com/b"}},
		{ID: "poor", Secret: "s", RedirectURIs: []string{"https://a.example.com/b"}, NoBanks: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Set(func(settings *Settings) { settings.Unhealthy = []string{"ob-kestrel"} })
	for query, want := range map[string]int{"": len(banks), "?clientId=known": len(banks), "?clientId=poor": 0, "?clientId=nobody": 0, "?clientId=": 0} {
		found := providersOf(t, s, query)
		if len(found) != want {
			t.Errorf("%q: %v", query, found)
		}
		if want > 0 && (found["ob-kestrel"] != "unhealthy" || found["mock"] != "healthy") {
			t.Errorf("%q: %v", query, found)
		}
	}
}

// TestRefusedLinks: a wrong auth link is refused with a status or with a redirect, and
// both pages say why.
func TestRefusedLinks(t *testing.T) {
	s, err := New(Config{Clients: []Client{{ID: "known", Secret: "s", RedirectURIs: []string{"https://a.example.com/b"}}}})
	if err != nil {
		t.Fatal(err)
	}
	get := func(address string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil))
		return answer
	}
	const wrong = "/?client_id=nobody&response_type=code"
	if answer := get(wrong); answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), "unknown client_id") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	s.Set(func(settings *Settings) { settings.Refused = "redirect" })
	answer := get(wrong)
	location := answer.Header().Get("Location")
	if answer.Code != http.StatusFound || !strings.HasPrefix(location, "/error?") {
		t.Fatalf("%d %s", answer.Code, location)
	}
	if answer = get(location); !strings.Contains(answer.Body.String(), "unknown client_id") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// TestSkewedDate: a wrong clock shows in the field Date.
func TestSkewedDate(t *testing.T) {
	now := time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)
	s, err := New(Config{
		Clients: []Client{{ID: "known", Secret: "s", RedirectURIs: []string{"https://a.example.com/b"}}},
		Now:     func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Set(func(settings *Settings) { settings.ClockSkew = -time.Hour })
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/providers", nil))
	if got := answer.Header().Get("Date"); got != "Tue, 01 Dec 2026 07:00:00 GMT" {
		t.Error(got)
	}
}
