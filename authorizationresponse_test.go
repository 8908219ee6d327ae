package truelayer

import (
	"net/url"
	"strings"
	"testing"
)

func FuzzCallbackQuery(f *testing.F) {
	for _, seed := range []string{
		"", "code=a&state=b", "error=access_denied&error_description=x", "code=a&code=b", "code=%zz", "state=%00&code=%0a", "a;b",
		"code=a&state=b&iss=c&iss=d", "error=a&error_description=b&error_description=c", "code=a%7f&state=b", "code=%c3%a9", "code=a&error=",
		"code=" + strings.Repeat("a", maxCode+1), "code=a&state=" + strings.Repeat("b", maxCode+1), "error=a&state=" + strings.Repeat("b", maxCode+1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		a, ok := readAuthorizationResponse(query)
		if !ok {
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil || a.code != "" && a.err != "" {
			t.Errorf("accepted %q", query)
		}
		for name, got := range map[string]string{"code": a.code, "state": a.state, "error": a.err, "error_description": a.description, "iss": a.issuer} {
			if n := len(values[name]); n > 1 || n == 1 && values[name][0] != got || n == 0 && got != "" {
				t.Errorf("accepted %q: %s is %q, read as %q", query, name, values[name], got)
			}
		}
		if len(a.code) > maxCode || len(a.state) > maxCode {
			t.Errorf("accepted a code of %d and a state of %d bytes", len(a.code), len(a.state))
		}
		if strings.ContainsFunc(a.code, func(r rune) bool { return r < '!' || r > '~' }) {
			t.Errorf("accepted the code %q", a.code)
		}
	})
}
