package authserver

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestUsableKeys: only keys that can check one of the accepted signatures count.
func TestUsableKeys(t *testing.T) {
	for name, test := range map[string]struct {
		body   string
		usable int
		err    string
	}{
		"two of five": {`{"keys":[
			{"kty":"RSA","use":"sig","alg":"RS256","n":"AQ","e":"AQAB"},
			{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"},
			{"kty":"EC","crv":"P-521","x":"AQ","y":"AQ","alg":"ES512"},
			{"kty":"RSA","use":"enc","n":"AQ","e":"AQAB"},
			{"kty":"oct","k":"AQ"}]}`, 2, ""},
		"none":         {`{"keys":[]}`, 0, ""},
		"no key set":   {`{}`, 0, "not a key set"},
		"no JSON":      {`<html>`, 0, "not a key set"},
		"out of shape": {`{"keys":{}}`, 0, "not a key set"},
		"too large":    {strings.Repeat(" ", maxKeySet) + `{"keys":[]}`, 0, "larger than"},
		"failed":       {"", 0, "status 503"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.body == "" {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			usable, err := UsableKeys(t.Context(), server.URL)
			if usable != test.usable || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%d keys, %v", usable, err)
			}
		})
	}
}
