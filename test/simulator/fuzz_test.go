package simulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzAuthURIBody and FuzzReauthURIBody: no body makes the simulator panic, and a
// body that is accepted has what the API description asks for and nothing else.
func FuzzAuthURIBody(f *testing.F) {
	s := mustNew(f, Config{Clients: []Client{{ID: testID, Secret: testSecret, RedirectURIs: []string{testRedirect}}}})
	addBodies(f, authURIObject(), authURIObject("provider_id", "xs2a-sparverein", "auth_inputs", []any{object{"customer-kind": "private"}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzBody(t, s, "/v1/authuri", body, describedAuthURI, requiredOfAuthURI)
	})
}

func FuzzReauthURIBody(f *testing.F) {
	s := mustNew(f, Config{Clients: []Client{{ID: testID, Secret: testSecret, RedirectURIs: []string{testRedirect}}}})
	const token = "0123456789ABCDEF"
	c := &connection{client: s.clients[testID], scopes: []string{"info"}, bank: mock, refreshToken: token, ends: s.now().Add(1 << 62)}
	s.connections.put(c.subject(), c, s.now(), c.ends)
	s.refresh.put(token, c.subject(), s.now(), c.ends)
	addBodies(f, reauthURIObject(token))
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzBody(t, s, "/v1/reauthuri", body, describedReauthURI, requiredOfReauthURI)
	})
}

func mustNew(tb testing.TB, cfg Config) *Simulator {
	tb.Helper()
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func addBodies(f *testing.F, good ...object) {
	f.Helper()
	for _, o := range good {
		body, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	for _, body := range []string{
		"", "{}", "null", "[]", `{"state":"a","state":"b"}`, `{"user":null}`, `{"user":{"name":"a","phone":"1"}}`, `{"auth_inputs":[{}]}`,
		`{"auth_inputs":[{"a":"b"},null]}`, `{"Scope":"info"}`, "{}{}", "{\"state\":\"\xff\"}", strings.Repeat("[", 1000),
		`{"scope":"` + strings.Repeat("x", maxBody) + `"}`,
	} {
		f.Add([]byte(body))
	}
}

func fuzzBody(t *testing.T, s *Simulator, path string, body []byte, described, required []string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(string(body)))
	r.Header.Set("Content-Type", jsonType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if want := http.StatusRequestEntityTooLarge; (len(body) > maxBody) != (w.Code == want) {
		t.Errorf("%d for %d bytes", w.Code, len(body))
	}
	switch w.Code {
	case http.StatusOK:
		var o object
		if err := json.Unmarshal(body, &o); err != nil {
			t.Fatal(err)
		}
		agrees(t, o, described, required)
	case http.StatusBadRequest, http.StatusUnauthorized:
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer %q", w.Body)
		}
	case http.StatusRequestEntityTooLarge:
	default:
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
