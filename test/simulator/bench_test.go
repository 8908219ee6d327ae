package simulator

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkLogin is what the simulator itself costs a benchmark of logins.
func BenchmarkLogin(b *testing.B) {
	for name, cheaply := range map[string]bool{"signed": false, "cheap": true} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Config{Clients: []Client{{ID: testID, Secret: testSecret, RedirectURIs: []string{testRedirect}}}})
			if err != nil {
				b.Fatal(err)
			}
			s.Set(func(settings *Settings) { settings.CheapSignatures = cheaply })
			for b.Loop() {
				login(b, s)
			}
		})
	}
}

func login(b *testing.B, s *Simulator) {
	b.Helper()
	query := url.Values{
		"response_type": {"code"}, "client_id": {testID}, "redirect_uri": {testRedirect},
		"scope": {"verification offline_access"}, "state": {newHex(16)},
	}
	callback, err := s.Grant("https://auth.example.com/?" + query.Encode())
	if err != nil {
		b.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/connect/token",
		strings.NewReader(exchangeForm(u.Query().Get("code")).Encode()))
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Fatal(w.Body)
	}
}
