package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

var testNow = time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)

// trueLayer answers as its fields say.
type trueLayer struct {
	listing  Listing
	listErr  error
	token    TokenAnswer
	link     string
	keys     int
	keysErr  error
	exchange func(code string)
}

func (l *trueLayer) Providers(context.Context) (Listing, error) { return l.listing, l.listErr }
func (l *trueLayer) AuthLink() string                           { return l.link }
func (l *trueLayer) UsableKeys(context.Context) (int, error)    { return l.keys, l.keysErr }
func (l *trueLayer) Exchange(_ context.Context, code string) TokenAnswer {
	if l.exchange != nil {
		l.exchange(code)
	}
	return l.token
}

// records is a store.
type records struct {
	kept                 map[string][]byte
	create, get, deleted error
}

func (r *records) Create(_ context.Context, id string, record []byte, ttl time.Duration) error {
	if ttl <= 0 || ttl > time.Hour {
		return errors.New("odd ttl")
	}
	if r.create == nil {
		r.kept[id] = record
	}
	return r.create
}

func (r *records) Get(_ context.Context, id string) ([]byte, error) {
	if r.get != nil {
		return nil, r.get
	}
	if record, ok := r.kept[id]; ok {
		return record, nil
	}
	return nil, fs.ErrNotExist
}

func (r *records) Delete(_ context.Context, id string) error {
	if r.deleted == nil {
		delete(r.kept, id)
	}
	return r.deleted
}

// roundTrip answers what has no secret in it.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const (
	testServer   = "https://auth.example.com"
	testRedirect = "https://app.example.com/truelayer"
)

// goodAnswer is what a good set-up answers.
func goodAnswer(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	switch r.URL.Host {
	case "auth.example.com":
		http.Redirect(answer, r, "https://login.truelayer.com/?session_id=auth-1", http.StatusFound)
	case "app.example.com":
		answer.Header().Set("Content-Type", "application/problem+json")
		answer.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(answer, `{"reason":"callback_malformed"}`)
	}
	return answer
}

// good is a block in which nothing is wrong.
func good() (Block, *trueLayer, *records) {
	l := &trueLayer{
		listing: Listing{Providers: []Provider{{"ob-a", "healthy"}}, Date: testNow, Status: 200},
		token:   TokenAnswer{Status: 400, Code: "invalid_grant", Err: errors.New("refused")},
		link:    testServer + "/?state=s", keys: 1,
	}
	r := &records{kept: make(map[string][]byte)}
	return Block{
		AuthServer: testServer, RedirectURI: testRedirect, ProviderID: "ob-a", KeySet: testServer + "/jwks",
		TrueLayer: l, Store: r, Now: func() time.Time { return testNow },
		Credentials: []Credential{{Option: "client_id"}, {Option: "client_secret"}},
		HTTP:        roundTrip(func(r *http.Request) (*http.Response, error) { return goodAnswer(r).Result(), nil }),
	}, l, r
}

// find returns the findings that are not ok, each in a line.
func find(t *testing.T, b Block) string {
	t.Helper()
	var lines []string
	for _, f := range Examine(t.Context(), b) {
		if f.Level != OK {
			lines = append(lines, fmt.Sprintf("%s %s: %s | %s", f.Level, f.Check, f.Seen, f.Remedy))
		}
	}
	return strings.Join(lines, "\n")
}

// TestGood: all checks of a good set-up pass, and nothing of them stays.
func TestGood(t *testing.T) {
	b, l, r := good()
	l.exchange = func(code string) {
		if len(code) != 64 || strings.Trim(code, "0123456789ABCDEF") != "" {
			t.Errorf("the code is %q", code)
		}
	}
	findings := Examine(t.Context(), b)
	for _, f := range findings {
		if f.Level != OK || f.Remedy != "" {
			t.Errorf("%+v", f)
		}
	}
	if len(findings) != 11 || !Passed(findings) || len(r.kept) != 0 {
		t.Errorf("%d findings, %v kept", len(findings), r.kept)
	}
}

// TestWrong: each thing that can be wrong has a finding with a remedy, and is the only
// one.
func TestWrong(t *testing.T) {
	answering := func(host string, answer func(w http.ResponseWriter, r *http.Request)) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != host {
				return goodAnswer(r).Result(), nil
			}
			w := httptest.NewRecorder()
			answer(w, r)
			resp := w.Result()
			resp.Request = r
			return resp, nil
		})
	}
	failing := func(host string, err error) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == host {
				return nil, err
			}
			return goodAnswer(r).Result(), nil
		})
	}
	redirect := func(to string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}
	unknown := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}

	for name, test := range map[string]struct {
		wrong func(*Block, *trueLayer, *records)
		want  string
	}{
		"option":          {func(b *Block, _ *trueLayer, _ *records) { b.Options = []Note{{Warning, "odd", "mend it"}} }, "warning options: odd | mend it"},
		"no credentials":  {func(b *Block, _ *trueLayer, _ *records) { b.Credentials[1].Problem = "client_secret: gone" }, "failure credentials: client_secret: gone"},
		"literal":         {func(b *Block, _ *trueLayer, _ *records) { b.Credentials[1].Literal = true }, "warning credentials: client_secret stands"},
		"stale":           {func(b *Block, _ *trueLayer, _ *records) { b.Credentials[1].Stale = true }, "warning credentials: client_secret has another value"},
		"no log filter":   {func(b *Block, _ *trueLayer, _ *records) { b.AccessLogs.On = true }, "warning access logs: codes and states"},
		"ahead":           {func(_ *Block, l *trueLayer, _ *records) { l.listing.Date = testNow.Add(-31 * time.Second) }, "failure clock: this machine's clock is 31s ahead of"},
		"behind":          {func(_ *Block, l *trueLayer, _ *records) { l.listing.Date = testNow.Add(time.Hour) }, "failure clock: this machine's clock is 1h0m0s behind"},
		"no list":         {func(_ *Block, l *trueLayer, _ *records) { l.listErr = errors.New("listing: no list") }, "failure providers: listing: no list"},
		"no bank":         {func(_ *Block, l *trueLayer, _ *records) { l.listing.Providers = nil }, "failure providers: TrueLayer knows no bank"},
		"another bank":    {func(b *Block, _ *trueLayer, _ *records) { b.ProviderID = "ob-b" }, "failure providers: the client may use 1 banks, and provider_id ob-b"},
		"unhealthy":       {func(_ *Block, l *trueLayer, _ *records) { l.listing.Providers[0].Status = "ill\x1b" }, `warning providers: TrueLayer says that ob-a is "ill?"`},
		"a token":         {func(_ *Block, l *trueLayer, _ *records) { l.token = TokenAnswer{Status: 200} }, "failure token endpoint: the token endpoint gave a token"},
		"invalid client":  {func(_ *Block, l *trueLayer, _ *records) { l.token.Code = "invalid_client" }, "failure token endpoint: the client is refused with invalid_client"},
		"unauthorized":    {func(_ *Block, l *trueLayer, _ *records) { l.token.Code = "unauthorized" }, "failure token endpoint: the client is refused"},
		"unauthorized 2":  {func(_ *Block, l *trueLayer, _ *records) { l.token.Code = "unauthorized_client" }, "failure token endpoint: the client is refused"},
		"another code":    {func(_ *Block, l *trueLayer, _ *records) { l.token.Code = "invalid_request" }, "warning token endpoint: an invented code is answered with 400 and invalid_request"},
		"too many":        {func(_ *Block, l *trueLayer, _ *records) { l.token.Code, l.token.Status = "", 429 }, "warning token endpoint: TrueLayer asks for fewer"},
		"token 500":       {func(_ *Block, l *trueLayer, _ *records) { l.token.Status, l.token.Code = 500, "server_error" }, "failure token endpoint: the token endpoint answers with 500"},
		"token redirect":  {func(_ *Block, l *trueLayer, _ *records) { l.token.Status, l.token.Code = 302, "" }, "failure token endpoint: the token endpoint answers with 302"},
		"no token answer": {func(_ *Block, l *trueLayer, _ *records) { l.token = TokenAnswer{Err: errors.New("reset")} }, "failure token endpoint: reset"},
		"no key set":      {func(_ *Block, l *trueLayer, _ *records) { l.keysErr = errors.New("status 404") }, "failure key set: https://auth.example.com/jwks cannot be used: status 404"},
		"no key":          {func(_ *Block, l *trueLayer, _ *records) { l.keys = 0 }, "failure key set: https://auth.example.com/jwks has no key"},
		"store full":      {func(_ *Block, _ *trueLayer, r *records) { r.create = errors.New("full") }, "failure store: writing a record failed: full"},
		"store forgets":   {func(_ *Block, _ *trueLayer, r *records) { r.get = fs.ErrNotExist }, "failure store: reading a record back failed"},
		"store keeps":     {func(_ *Block, _ *trueLayer, r *records) { r.deleted = errors.New("read-only") }, "failure store: deleting a record failed"},

		"link refused": {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = answering("auth.example.com", status(400)) }, "failure auth link: auth.example.com answers with 400"},
		"link's page":  {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = answering("auth.example.com", status(200)) }, "warning auth link: auth.example.com answers with 200"},
		"link's error": {func(b *Block, _ *trueLayer, _ *records) {
			b.HTTP = answering("auth.example.com", redirect("https://login.truelayer.com/error?x=1"))
		}, "warning auth link: the link leads to login.truelayer.com/error, where TrueLayer is seen to refuse"},
		"link comes back": {func(b *Block, _ *trueLayer, _ *records) {
			b.HTTP = answering("auth.example.com", redirect(testRedirect+"?error=invalid_scope"))
		}, "failure auth link: TrueLayer sends the visitor back with the error invalid_scope"},
		"link is granted": {func(b *Block, _ *trueLayer, _ *records) {
			b.HTTP = answering("auth.example.com", redirect(testRedirect+"?code=1"))
		}, "warning auth link: the link leads straight back"},
		"link goes away": {func(b *Block, _ *trueLayer, _ *records) {
			b.HTTP = answering("auth.example.com", redirect("https://bank.example.net/"))
		}, "warning auth link: the link leads on to bank.example.net"},
		"link downgrades": {func(b *Block, _ *trueLayer, _ *records) {
			b.HTTP = answering("auth.example.com", redirect("http://login.truelayer.com/"))
		}, "warning auth link: the link leads on to login.truelayer.com"},
		"link circles":    {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = answering("auth.example.com", redirect("/again")) }, "failure auth link: the link leads in a circle"},
		"link unanswered": {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = failing("auth.example.com", errors.New("reset")) }, "failure auth link: no answer from auth.example.com: reset"},

		"site elsewhere": {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = answering("app.example.com", status(200)) }, "failure redirect URI: the answer is 200 and not the module's"},
		"site rewritten": {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = answering("app.example.com", status(404)) }, "failure redirect URI: the answer is 404"},
		"site redirects": {func(b *Block, _ *trueLayer, _ *records) {
			b.HTTP = answering("app.example.com", redirect("https://www.example.com/truelayer?x=1"))
		}, "failure redirect URI: the answer is a redirect, 302, to www.example.com/truelayer |"},
		"site's own page": {func(b *Block, _ *trueLayer, _ *records) {
			b.OwnErrorPages, b.HTTP = true, answering("app.example.com", status(400))
		}, "warning redirect URI: the answer has the status of the module's"},
		"site's name": {func(b *Block, _ *trueLayer, _ *records) {
			b.HTTP = failing("app.example.com", &net.DNSError{Err: "no such host"})
		}, "failure redirect URI: no answer: lookup : no such host | the name does not resolve"},
		"site expired":  {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = failing("app.example.com", expired) }, "failure redirect URI: no answer: tls: failed to verify"},
		"site's own CA": {func(b *Block, _ *trueLayer, _ *records) { b.HTTP = failing("app.example.com", unknown) }, "warning redirect URI: no answer: tls: failed to verify"},
	} {
		t.Run(name, func(t *testing.T) {
			b, l, r := good()
			test.wrong(&b, l, r)
			got := find(t, b)
			if !strings.HasPrefix(got, test.want) || strings.Contains(got, "\n") || strings.HasSuffix(got, "| ") {
				t.Errorf("found %q, not %q", got, test.want)
			}
		})
	}
}

// TestUnreachable: without the auth server its other checks are left out, and the remedy
// fits to why it cannot be reached.
func TestUnreachable(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"name":        {&url.Error{Op: "Get", URL: "https://x/?clientId=c", Err: &net.DNSError{Err: "no such host", Name: "auth.example.com"}}, "the name does not resolve"},
		"certificate": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "the certificate is not valid for this machine"},
		"connection":  {errors.New("connection refused"), "allow outgoing connections"},
	} {
		t.Run(name, func(t *testing.T) {
			b, l, _ := good()
			l.listing, l.listErr = Listing{}, test.err
			lines := strings.Split(find(t, b), "\n")
			if len(lines) != 5 || !strings.HasPrefix(lines[0], "failure auth server: ") || !strings.Contains(lines[0], test.want) || strings.Contains(lines[0], "clientId") {
				t.Errorf("%q", lines)
			}
			for _, line := range lines[1:] {
				if !strings.HasPrefix(line, "skipped ") {
					t.Errorf("%q", line)
				}
			}
		})
	}
}

// TestOffline: what needs the network is left out, and nothing is sent.
func TestOffline(t *testing.T) {
	b, l, r := good()
	l.exchange = func(string) { t.Error("a code was sent") }
	b.Offline = true
	b.HTTP = roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s was fetched", r.URL)
		return nil, errors.New("offline")
	})
	if skipped := strings.Count(find(t, b), "skipped "); skipped != 8 || len(r.kept) > 0 {
		t.Errorf("%d are skipped", skipped)
	}
}

// TestTimeLimit: a check ends when its time is over.
func TestTimeLimit(t *testing.T) {
	b, _, _ := good()
	ctx, cancel := context.WithCancel(t.Context())
	b.HTTP = roundTrip(func(r *http.Request) (*http.Response, error) {
		if _, limited := r.Context().Deadline(); !limited {
			t.Errorf("%s has no time limit", r.URL)
		}
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	if findings := ExamineAll(ctx, []Block{b}); len(findings) != 1 || Passed(findings[0]) {
		t.Errorf("%+v", findings)
	}
}
