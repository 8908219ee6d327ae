package simulator

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testID       = "sandbox-test"
	testSecret   = "test-secret"
	testRedirect = "https://app.example.com/truelayer"
	testVerifier = "a-code-verifier-that-is-long-enough-for-the-rfc"
)

// clock is a time that moves when a test says so.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// fixture is a simulator behind a server, with a client and a clock.
type fixture struct {
	*Simulator
	time *clock
	t    *testing.T
	url  string
}

func start(t *testing.T) *fixture {
	t.Helper()
	c := &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	s, err := New(Config{
		Clients: []Client{
			{ID: testID, Secret: testSecret, Name: "Test & Co", RedirectURIs: []string{testRedirect, testRedirect + "?a=b"}},
			{ID: "sandbox-other", Secret: "other-secret", RedirectURIs: []string{testRedirect}},
		},
		Now: c.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, s, c)
}

func startWith(t *testing.T, s *Simulator, c *clock) *fixture {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &fixture{s, c, t, server.URL}
}

// link is an auth link; changes are pairs of a name and a value, an empty
// value takes the parameter out. Each link has a nonce of its own.
func (f *fixture) link(changes ...string) string {
	query := url.Values{
		"response_type": {"code"}, "client_id": {testID}, "redirect_uri": {testRedirect},
		"scope": {"verification accounts info offline_access"}, "providers": {"uk-cs-mock uk-ob-all"},
		"state": {"the-state"}, "nonce": {newHex(8)},
	}
	set(query, changes)
	return f.url + "/?" + query.Encode()
}

func set(values url.Values, changes []string) {
	for i := 0; i+1 < len(changes); i += 2 {
		values.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			values.Del(changes[i])
		}
	}
}

func challenge() string {
	sum := sha256.Sum256([]byte(testVerifier))
	return encode(sum[:])
}

// code is a fresh authorization code.
func (f *fixture) code(changes ...string) string {
	f.t.Helper()
	callback, err := f.Grant(f.link(changes...))
	if err != nil {
		f.t.Fatal(err)
	}
	return queryOf(f.t, callback).Get("code")
}

func queryOf(t *testing.T, rawURL string) url.Values {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// reply is an answer with its body read.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("%v in %q", err, r.body)
	}
}

// errorCode is the error of an OAuth answer.
func (r reply) errorCode(t *testing.T) string {
	t.Helper()
	var e oauthError
	r.decode(t, &e)
	return e.Error
}

func (f *fixture) send(method, path, contentType, body string, header ...string) reply {
	f.t.Helper()
	r, err := f.try(method, path, contentType, body, header...)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// try reports what went wrong on the way, as faults make it.
func (f *fixture) try(method, path, contentType, body string, header ...string) (reply, error) {
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}, err
}

const formType = "application/x-www-form-urlencoded"

// exchangeForm is a good token request for a code, with changes as in link.
func exchangeForm(code string, changes ...string) url.Values {
	form := url.Values{
		"grant_type": {grantCode}, "client_id": {testID}, "client_secret": {testSecret},
		"redirect_uri": {testRedirect}, "code": {code},
	}
	set(form, changes)
	return form
}

func refreshForm(token string, changes ...string) url.Values {
	form := url.Values{
		"grant_type": {grantRefresh}, "client_id": {testID}, "client_secret": {testSecret}, "refresh_token": {token},
	}
	set(form, changes)
	return form
}

func (f *fixture) postToken(form url.Values) reply {
	f.t.Helper()
	return f.send(http.MethodPost, "/connect/token", formType, form.Encode())
}

// tokens is a good answer of the token endpoint.
func (f *fixture) tokens(form url.Values) tokenResponse {
	f.t.Helper()
	r := f.postToken(form)
	if r.status != http.StatusOK {
		f.t.Fatalf("token request: %d %s", r.status, r.body)
	}
	var out tokenResponse
	r.decode(f.t, &out)
	return out
}

func (f *fixture) get(path, accessToken string) reply {
	f.t.Helper()
	return f.send(http.MethodGet, path, "", "", "Authorization", "Bearer "+accessToken)
}

func (f *fixture) verify(name, accessToken string) reply {
	f.t.Helper()
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.send(http.MethodPost, "/verification/v1/verify", "application/json", string(body), "Authorization", "Bearer "+accessToken)
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := Client{ID: "a", Secret: "b", RedirectURIs: []string{testRedirect}}
	tests := map[string][]Client{
		"no client":         nil,
		"no ID":             {{Secret: "b", RedirectURIs: good.RedirectURIs}},
		"no secret":         {{ID: "a", RedirectURIs: good.RedirectURIs}},
		"no redirect URI":   {{ID: "a", Secret: "b"}},
		"relative redirect": {{ID: "a", Secret: "b", RedirectURIs: []string{"/truelayer"}}},
		"fragment":          {{ID: "a", Secret: "b", RedirectURIs: []string{testRedirect + "#x"}}},
		"twice":             {good, good},
	}
	for name, clients := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(Config{Clients: clients}); err == nil {
				t.Error("New accepts it")
			}
		})
	}
}

func TestCallsAreCountedAndRemembered(t *testing.T) {
	f := start(t)
	f.Fail(Token, Fault{Times: 1, Status: 503})
	code := f.code("scope", "verification offline_access")
	f.postToken(exchangeForm(code, "code_verifier", "wrong-verifier"))
	f.postToken(refreshForm("unknown-refresh-token"))
	if n := f.Calls(Token); n != 2 {
		t.Errorf("%d token requests counted, want 2, faults included", n)
	}
	if n := f.CallsGrant(grantRefresh); n != 1 {
		t.Errorf("%d refreshes counted, want 1", n)
	}
	form, header := f.LastTokenRequest()
	if form.Get("refresh_token") != "unknown-refresh-token" || header.Get("Content-Type") != formType {
		t.Errorf("last token request: %v %v", form, header)
	}
	tokens := f.tokens(exchangeForm(f.code()))
	secrets := strings.Join(f.Secrets(), "\n")
	for _, want := range []string{
		testSecret, code, "wrong-verifier", "unknown-refresh-token", tokens.AccessToken, tokens.RefreshToken,
	} {
		if want == "" || !strings.Contains(secrets, want) {
			t.Errorf("Secrets lacks %q", want)
		}
	}
}
