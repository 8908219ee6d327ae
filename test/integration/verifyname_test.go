package integration

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// people are the names that a site has for the numbers that its visitors send.
var people = map[string]string{
	"1": "John   Doe", "2": "Jane Carter", "3": "Amina Okafor", "4": "Oliver Hughes", "5": "Priya Patel", "6": "George Novak", "7": "Sofia Murphy",
	"8": "Liam Silva", "9": "Wei Walker", "10": "Chloe Khan", "11": "Ada Bennett", "long": strings.Repeat("a", 201), "odd": "a\u202eb",
}

func init() {
	caddy.RegisterModule(signIn{})
	httpcaddyfile.RegisterHandlerDirective("sign_in", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return signIn{}, nil })
	httpcaddyfile.RegisterDirectiveOrder("sign_in", httpcaddyfile.Before, "basic_auth")
}

// signIn is a handler that knows its visitors by their number. Unlike a header field, what it
// knows is in no log of Caddy's.
type signIn struct{}

func (signIn) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.sign_in", New: func() caddy.Module { return signIn{} }}
}

func (signIn) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.sign_in.name", people[r.Header.Get("X-Number")])
	return next.ServeHTTP(w, r)
}

// startVerifying starts a site that knows its visitors' names. They may be written down
// nowhere.
func startVerifying(t *testing.T, more, require string) *world {
	t.Helper()
	return start(t, audited, func(w *world) {
		for _, name := range people {
			w.secrets.add(name, vouch.Fold(name))
		}
		w.Before = "sign_in"
		w.Options = "scopes verification offline_access\n\t\tverify_name {http.sign_in.name} {\n\t\t\tapi " + w.AuthServer + "\n\t\t\t" + more + "\n\t\t}"
		w.After = require + `
	request_header X-Verification "{http.truelayer.verification} {http.truelayer.match_score} {http.truelayer.verified_at} {http.truelayer.account_holder}"`
	})
}

// named opens the page as somebody with a number, and returns the answer and what the
// application was told.
func (w *world) named(b *browser, number string) (a *answer, told string) {
	w.t.Helper()
	before, _ := w.app.requests()
	a = b.do(http.MethodGet, w.Site+"/page", append([]string{"X-Number", number}, asNavigation...)...)
	if n, seen := w.app.requests(); n > before {
		told = seen.Header.Get("X-Verification")
	}
	return a, told
}

// TestVerifyName: the application is told the bank's word on the visitor's name, and the
// bank is asked once. The name is written down nowhere.
func TestVerifyName(t *testing.T) {
	w := startVerifying(t, "", "")
	b := w.signedIn()
	for range 3 {
		if _, told := w.named(b, "1"); !strings.HasPrefix(told, "match 100 20") {
			t.Errorf("told %q", told)
		}
	}
	equal(t, "questions", w.sim.Calls(simulator.Verify), 1)
	if _, told := w.named(b, "2"); !strings.HasPrefix(told, "no_match ") || strings.HasSuffix(told, " John Doe") {
		t.Errorf("told %q", told)
	}
	for _, nobody := range []string{"", "long", "odd"} {
		if _, told := w.named(b, nobody); told != "not_asked" {
			t.Errorf("%s: told %q", nobody, told)
		}
	}
	equal(t, "questions", w.sim.Calls(simulator.Verify), 2)
	trail := w.trail()
	if last := trail[len(trail)-1]; last["event"] != "name_verified" || last["result"] != "no_match" || last["session"] != trail[0]["session"] {
		t.Errorf("%v", trail)
	}
	equal(t, "counted", w.series()["name_verifications_total{result=match}"], 1)
	plainly := start(t, plain, func(w *world) {
		w.After = `request_header X-Verification "{http.truelayer.verification}{http.truelayer.match_score}{http.truelayer.verified_at}{http.truelayer.account_holder}"`
	})
	if _, told := plainly.named(plainly.signedIn(), "1"); told != "" {
		t.Errorf("without verify_name the application is told %q", told)
	}
}

// TestVerificationTable: what application and visitor see of each answer of the Verification
// API, as docs/verified-names.md says it.
func TestVerificationTable(t *testing.T) {
	fault := func(f simulator.Fault) func(*world) { return func(w *world) { w.sim.Fail(simulator.Verify, f) } }
	const noAccount = `{"title":"No suitable accounts to verify.","status":400,"detail":"No Current or Savings account's found to verify."}`
	const invalid = `{"title":"One or more validation errors occurred.","status":400,"errors":{"name":["no"]}}`
	for name, test := range map[string]struct {
		before func(*world)
		number string
		told   string // placeholder
		status int    // where verified_name is required
		reason string
	}{
		"verified":                 {nil, "1", "match", http.StatusOK, ""},
		"not verified":             {nil, "2", "no_match", http.StatusForbidden, "name_mismatch"},
		"no name":                  {nil, "", "not_asked", http.StatusForbidden, "name_missing"},
		"400 no suitable accounts": {fault(simulator.Fault{Status: 400, ContentType: "application/problem+json", Body: noAccount}), "1", "not_verifiable", http.StatusForbidden, "account_not_verifiable"},
		"400 invalid":              {fault(simulator.Fault{Status: 400, ContentType: "application/problem+json", Body: invalid}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"401":                      {fault(simulator.Fault{Status: 401}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"401 once":                 {fault(simulator.Fault{Status: 401, Times: 1}), "1", "match", http.StatusOK, ""},
		"403":                      {fault(simulator.Fault{Status: 403}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"429":                      {fault(simulator.Fault{Status: 429}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"500":                      {fault(simulator.Fault{Status: 500}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"503":                      {fault(simulator.Fault{Status: 503}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"504":                      {fault(simulator.Fault{Status: 504}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"no answer":                {fault(simulator.Fault{DropBefore: true}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"an answer without a word": {fault(simulator.Fault{Status: 200, ContentType: "application/json", Body: "{}"}), "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
		"an answer that comes late": {func(w *world) {
			hold := make(chan struct{})
			w.t.Cleanup(func() { close(hold) })
			w.sim.Fail(simulator.Verify, simulator.Fault{Hold: hold})
		}, "1", "unavailable", http.StatusServiceUnavailable, "verification_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			w := startVerifying(t, "timeout 500ms", "truelayer_require /page/sure* {\nverified_name\n}")
			b := w.signedIn()
			if test.before != nil {
				test.before(w)
			}
			t.Cleanup(w.sim.ClearFaults)
			a, told := w.named(b, test.number)
			if a.StatusCode != http.StatusOK || strings.Fields(told + " -")[0] != test.told {
				t.Errorf("%d, told %q", a.StatusCode, told)
			}
			before, _ := w.app.requests()
			header := []string{"X-Number", test.number}
			a = b.do(http.MethodGet, w.Site+"/page/sure", append(header, asNavigation...)...)
			if a.StatusCode != test.status || !strings.Contains(a.body, test.reason) {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			a = b.do(http.MethodGet, w.Site+"/page/sure", append(header, asFetch...)...)
			if a.StatusCode != test.status || test.reason != "" && a.problem(t)["reason"] != test.reason {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			if n, _ := w.app.requests(); (n > before) != (test.status == http.StatusOK) {
				t.Errorf("the application got %d requests", n-before)
			}
		})
	}
}

// TestVerifiedNamePages: each page that refuses a name says what to do next.
func TestVerifiedNamePages(t *testing.T) {
	w := startVerifying(t, "", "truelayer_require {\nverified_name\n}")
	b := w.signedIn()
	mismatch, _ := w.named(b, "2")
	if !strings.Contains(mismatch.body, w.Site+`/truelayer/logout"`) || mismatch.Header.Get("Refresh") != "" {
		t.Errorf("%s", mismatch.body)
	}
	w.sim.Fail(simulator.Verify, simulator.Fault{Status: http.StatusBadGateway})
	if a, _ := w.named(b, "3"); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Refresh") == "" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// TestGuessedNames: a visitor who may choose the name has few tries.
func TestGuessedNames(t *testing.T) {
	w := startVerifying(t, "", "truelayer_require {\nverified_name\n}")
	b := w.signedIn()
	statuses := make(map[int]int)
	for number := range people {
		if name := people[number]; name == "" || number == "long" || number == "odd" || number == "1" {
			continue
		}
		a, _ := w.named(b, number)
		statuses[a.StatusCode]++
		if a.StatusCode == http.StatusTooManyRequests && (!strings.Contains(a.body, "too_many_names") || a.Header.Get("Retry-After") == "") {
			t.Errorf("%v %s", a.Header, a.body)
		}
	}
	if statuses[http.StatusForbidden] != 3 || statuses[http.StatusTooManyRequests] != 7 || w.sim.Calls(simulator.Verify) != 3 {
		t.Errorf("%v, %d questions", statuses, w.sim.Calls(simulator.Verify))
	}
}

// TestVerifyNameOnce: requests that come at once ask once, a word that is known survives a
// reload and a refresh of the token, and an old one is asked for again.
func TestVerifyNameOnce(t *testing.T) {
	w := startVerifying(t, "", "")
	b := w.signedIn()
	hold := make(chan struct{})
	w.sim.Fail(simulator.Verify, simulator.Fault{Times: 1, Hold: hold})
	const n = 10
	done := make(chan struct{}, n)
	for range n {
		go func() { w.named(b, "1"); done <- struct{}{} }()
	}
	awaitWaiting(t, n)
	close(hold)
	for range n {
		<-done
	}
	equal(t, "questions", w.sim.Calls(simulator.Verify), 1)
	w.Options = strings.Replace(w.Options, "verify_name", "idle_timeout 3h\nverify_name", 1)
	if err := w.load(audited); err != nil {
		t.Fatal(err)
	}
	if _, told := w.named(b, "1"); !strings.HasPrefix(told, "match ") {
		t.Errorf("told %q", told)
	}
	equal(t, "questions", w.sim.Calls(simulator.Verify), 1)
}

// TestVerifyNameOfBasicAuth: the name may be the user of basic_auth, whose placeholder is
// the connection afterwards. An address for calls that are limited goes along, or not.
func TestVerifyNameOfBasicAuth(t *testing.T) {
	var addresses []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"John Doe"`) || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			t.Errorf("%v %s", r.Header, body)
		}
		addresses = append(addresses, r.Header.Get("X-Psu-Ip"))
		_, _ = io.WriteString(w, `{"verified":true,"account_holder_name":"John Doe","match_score":97}`)
	}))
	defer api.Close()
	for _, more := range []string{"", "omit_client_ip\nexpose_account_holder"} {
		w := start(t, plain, func(w *world) {
			// the password is "hiccup"
			w.Before = "basic_auth {\n\"John Doe\" $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}"
			w.Options = "verify_name {http.auth.user.id} {\napi " + api.URL + "\n" + more + "\n}"
			w.After = `request_header X-Verification "{http.truelayer.verification} {http.truelayer.match_score} {http.truelayer.account_holder} {http.auth.user.id}"`
		})
		b := w.browser()
		auth := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("John Doe:hiccup"))}
		sent := b.do(http.MethodGet, w.Site+"/page", append(auth, asNavigation...)...)
		callback, err := w.sim.Grant(sent.location())
		if err != nil {
			t.Fatal(sent.StatusCode, sent.location(), err)
		}
		b.do(http.MethodGet, callback, append(auth, asNavigation...)...)
		b.do(http.MethodGet, w.Site+"/page", append(auth, asNavigation...)...)
		_, seen := w.app.requests()
		told := strings.Split(seen.Header.Get("X-Verification"), " ")
		if told[0] != "match" || told[1] != "97" || strings.Contains(seen.Header.Get("X-Verification"), "John Doe") != (more != "") || told[len(told)-1] == "Doe" {
			t.Errorf("%q", told)
		}
	}
	if fmt.Sprint(addresses) != "[127.0.0.1 ]" && fmt.Sprint(addresses) != "[::1 ]" {
		t.Errorf("%q", addresses)
	}
}

// TestVerifyNameOfTwoBlocks: a block behind another one compares whom basic_auth has signed
// in, and not the connection that the first one has put in its place.
func TestVerifyNameOfTwoBlocks(t *testing.T) {
	var names []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		names = append(names, string(body))
		_, _ = io.WriteString(w, `{"verified":true,"match_score":90}`)
	}))
	defer api.Close()
	verified := "verify_name {http.auth.user.id} {\napi " + api.URL + "\n}"
	second := `	truelayer /page* {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/second
		auth_server   {{.AuthServer}}
		` + verified + `
	}
	{{.After}}`
	for _, before := range []string{"", "basic_auth {\n\"John Doe\" $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}"} {
		names = nil
		w := start(t, strings.Replace(plain, "	{{.After}}", second, 1), func(w *world) {
			w.Before, w.Options = before, verified
			w.After = `request_header X-Verification "{http.truelayer.verification}"`
		})
		b := w.browser()
		headers := append([]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("John Doe:hiccup"))}, asNavigation...)
		want, questions := "match", `[{"name":"John Doe"}]`
		if before == "" {
			headers, want, questions = asNavigation, "not_asked", "[]"
		}
		callback, err := w.sim.Grant(b.do(http.MethodGet, w.Site+"/x", headers...).location())
		if err != nil {
			t.Fatal(err)
		}
		b.do(http.MethodGet, callback, headers...)
		for range 3 {
			b.do(http.MethodGet, w.Site+"/page", headers...)
			_, seen := w.app.requests()
			equal(t, "told", seen.Header.Get("X-Verification"), want)
		}
		equal(t, "asked", strings.ReplaceAll(fmt.Sprint(names), "\n", ""), questions)
	}
}

// TestHolderName: the bank's word counts whatever the holder's name is; the name is given
// only if it can be one.
func TestHolderName(t *testing.T) {
	for holder, want := range map[string]string{
		"Zo\\u00eb  Doe": "match Zo\u00eb Doe", strings.Repeat("a", 5000): "match", `J\u0001`: "match", `a\u202eb`: "match",
	} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"verified":true,"account_holder_name":"%s","match_score":60}`, holder)
		}))
		w := start(t, plain, func(w *world) {
			w.Before = "sign_in"
			w.Options = "verify_name {http.sign_in.name} {\napi " + api.URL + "\nexpose_account_holder\n}"
			w.After = `request_header X-Verification "{http.truelayer.verification} {http.truelayer.account_holder}"`
		})
		a, told := w.named(w.signedIn(), "1")
		equal(t, "status", a.StatusCode, http.StatusOK)
		equal(t, "told", strings.TrimSpace(told), want)
		api.Close()
	}
}

// TestNameOfAnotherTime: the name that a visitor has given does not stand beside the bank's
// word on one that the site has.
func TestNameOfAnotherTime(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = "sign_in"
		w.Options = "verify_name {\napi " + w.AuthServer + "\n}"
		w.After = `request_header X-Verification "{http.truelayer.verification}:{http.truelayer.claimed_name}"`
	})
	b := w.signedIn()
	at := w.Site + "/truelayer/name?return=/page"
	page := b.navigate(at)
	if _, err := b.post(at, url.Values{"token": tokenField.FindStringSubmatch(page.body)[1:], "name": {"Evil Twin"}}); err != nil {
		t.Fatal(err)
	}
	_, told := w.named(b, "1")
	equal(t, "its own", told, "no_match:Evil Twin")
	w.Options = "verify_name {http.sign_in.name} {\napi " + w.AuthServer + "\n}"
	if err := w.load(plain); err != nil {
		t.Fatal(err)
	}
	_, told = w.named(b, "1")
	equal(t, "the site's", told, "match:")
}

// TestNamePage: a site that does not know its visitors asks them, and the application is
// told the name together with the bank's word on it.
func TestNamePage(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.secrets.add("John Doe", "Jane Carter")
		w.Options = "verify_name {\napi " + w.AuthServer + "\n}"
		w.After = `truelayer_require {
		verified_name
	}
	request_header X-Claimed "{http.truelayer.verification}: {http.truelayer.claimed_name}"`
	})
	b := w.signedIn()
	sent := b.navigate(w.Site + "/page?a=b")
	equal(t, "Location", sent.location(), "/truelayer/name?return=%2Fpage%3Fa%3Db")
	if a := b.fetch(w.Site + "/page"); a.StatusCode != http.StatusForbidden || a.problem(t)["reason"] != "name_missing" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	at := w.Site + sent.location()
	page := b.navigate(at)
	equal(t, "Cache-Control", page.Header.Get("Cache-Control"), "no-store")
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Error(policy)
	}
	form := url.Values{"token": tokenField.FindStringSubmatch(page.body)[1:], "name": {"Jane  Carter"}}
	post := func(b *browser, form url.Values, header ...string) *answer {
		t.Helper()
		a, err := b.post(at, form, header...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for name, header := range map[string][]string{
		"another site": {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, "no origin": {"Origin", ""}, "a sibling": {"Sec-Fetch-Site", "same-site"},
	} {
		equal(t, name, post(b, form, header...).StatusCode, http.StatusForbidden)
	}
	if a := post(w.browser(), form); !strings.HasPrefix(a.location(), w.Site+"/truelayer/login") {
		t.Errorf("a stranger: %d %s", a.StatusCode, a.location())
	}
	if a := post(w.signedIn(), form); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, `value="Jane Carter"`) {
		t.Errorf("another visitor: %d %s", a.StatusCode, a.body)
	}
	for _, wrong := range []string{"", " ", strings.Repeat("a", 201), "a\x00"} {
		if a := post(b, url.Values{"token": form["token"], "name": {wrong}}); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Enter your full name") {
			t.Errorf("%q: %d", wrong, a.StatusCode)
		}
	}
	equal(t, "too large", post(b, url.Values{"token": form["token"], "name": {strings.Repeat("a", 40_000)}}).StatusCode, http.StatusUnprocessableEntity)
	equal(t, "questions", w.sim.Calls(simulator.Verify), 0)

	equal(t, "then", post(b, form).location(), "/page?a=b")
	if a := b.navigate(w.Site + "/page"); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "name_mismatch") || !strings.Contains(a.body, `href="/truelayer/name?return=%2Fpage"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if !strings.Contains(b.navigate(at).body, `value="Jane Carter"`) {
		t.Error("the page has forgotten the name")
	}
	form.Set("name", "John Doe")
	equal(t, "then", post(b, form).location(), "/page?a=b")
	equal(t, "the page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	_, seen := w.app.requests()
	equal(t, "the application is told", seen.Header.Get("X-Claimed"), "match: John Doe")
	equal(t, "PUT", b.do(http.MethodPut, at).StatusCode, http.StatusMethodNotAllowed)

	other := startVerifying(t, "", "")
	if a := other.signedIn().navigate(other.Site + "/truelayer/name"); a.StatusCode != http.StatusOK || a.body != "hello" {
		t.Errorf("with a placeholder the address is the application's: %d %s", a.StatusCode, a.body)
	}
}
