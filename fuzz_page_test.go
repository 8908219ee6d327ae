package truelayer

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/zap"
)

// FuzzProviderText: a text that came through the browser is text on a page and
// in JSON: it is no markup, and not without end.
func FuzzProviderText(f *testing.F) {
	for _, seed := range []string{"", "access was denied", "<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "&lt;b&gt;", "\xff\x00\u2028", "{{.Link}}", "</p></main>", "javascript:alert(1)"} {
		f.Add(seed, "/page?a=b")
	}
	f.Add(strings.Repeat("ä", 1000), "/"+strings.Repeat("p", 900))
	h := returnHandler()
	h.origin, h.logger = testOrigin, zap.NewNop()
	show := func(t *testing.T, fields map[string]string, text, returnTo string) *httptest.ResponseRecorder {
		t.Helper()
		w := httptest.NewRecorder()
		if err := h.fail(w, request("GET", fields), failure{reason: providerError, provider: text, returnTo: returnTo}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	person := map[string]string{"Sec-Fetch-Mode": "navigate"}
	f.Fuzz(func(t *testing.T, text, target string) {
		returnTo := h.returnTarget(target)
		page := show(t, person, text, returnTo).Body.String()
		plain := show(t, person, "x", "/").Body.String()
		if cut(text) != "" && strings.Count(page, "<") != strings.Count(plain, "<") || strings.Count(page, `"`) > strings.Count(plain, `"`) {
			t.Errorf("%q, %q: another page came out: %s", text, returnTo, page)
		}
		if !utf8.ValidString(page) || len(page) > len(plain)+200*len("&#34;")+10*maxReturn {
			t.Errorf("%q: a page of %d bytes", text, len(page))
		}
		var problem struct {
			Provider string `json:"provider_error"`
			LoginURL string `json:"login_url"`
		}
		answer := show(t, nil, text, returnTo).Body.Bytes()
		if err := json.Unmarshal(answer, &problem); err != nil || problem.Provider != cut(text) || utf8.RuneCountInString(problem.Provider) > 201 || !strings.HasPrefix(problem.LoginURL, testOrigin+"/") {
			t.Errorf("%q, %q: %s: %v", text, returnTo, answer, err)
		}
	})
}
