package integration

import (
	"net/http"
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
// bank is asked once.
func TestVerifyName(t *testing.T) {
	w := startVerifying(t, "", "")
	b := w.signedIn()
	for range 3 {
		if _, told := w.named(b, "1"); !strings.HasPrefix(told, "match 100 20") {
			t.Errorf("told %q", told)
		}
	}
	equal(t, "questions", w.sim.Calls(simulator.Verify), 1)
	if _, told := w.named(b, "2"); !strings.HasPrefix(told, "no_match ") {
		t.Errorf("told %q", told)
	}
	equal(t, "questions", w.sim.Calls(simulator.Verify), 2)
}
