package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
		if a.StatusCode == http.StatusTooManyRequests && (!strings.Contains(a.body, "too_many_names") || !strings.Contains(a.body, "/truelayer/logout") || a.Header.Get("Retry-After") == "") {
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
