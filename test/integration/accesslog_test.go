package integration

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestAccessLogWarning: an operator who logs accesses, and with them codes, is
// told so once; one who filters them, or logs none, is not. What the harness
// would log beside that is left out.
func TestAccessLogWarning(t *testing.T) {
	const warning = "the access log contains the codes of logins"
	for name, test := range map[string]struct {
		log  string
		want int
	}{
		"no access log": {"", 0},
		"unfiltered":    {"log {\n output discard\n}", 1},
		"filtered":      {"log {\n output discard\n format filter {\n request>uri truelayer\n }\n}", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Before, w.logsAsWritten = test.log, true })
			for range 3 {
				w.browser().navigate(w.Site + "/")
			}
			equal(t, "warnings", strings.Count(w.log.text(t), warning), test.want)
		})
	}
}

// TestAccessLogExample: with the example's two filters, and nothing else, no
// log has a secret in it, debug or not, whatever runs before the directive.
// As after every test, the harness looks for them.
func TestAccessLogExample(t *testing.T) {
	text, err := os.ReadFile("../../examples/access-log.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	site := strings.NewReplacer(
		"\n{\n\tlog {\n", "\n{\n\tadmin off\n\tpersist_config off\n\tgrace_period 1s\n\tstorage file_system {{.Data}}\n\tdebug\n\tlog {\n\t\toutput file {{.Log}}\n",
		"app.example.com {\n\tlog {\n", "http://localhost:{{.Port}} {\n\trewrite /alias /page\n\turi strip_prefix /strip\n\tforward_auth {{.App}} {\n\t\turi /auth\n\t}\n\tlog {\n\t\toutput file {{.Data}}/access.log\n",
		"{env.TRUELAYER_CLIENT_ID}", "{{.ClientID}}\n\t\tauth_server {{.AuthServer}}", "{env.TRUELAYER_CLIENT_SECRET}", "{env.TEST_CLIENT_SECRET}",
		"https://app.example.com", "{{.Site}}", "localhost:3000", "{{.App}}",
	).Replace(string(text))
	w := start(t, site, func(w *world) { w.logsAsWritten = true })
	b := w.browser()
	callback := w.approve(b, w.Site+"/strip/page")
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusServiceUnavailable})
	equal(t, "a login that fails", b.navigate(callback).StatusCode, http.StatusBadGateway)
	equal(t, "one that does not", w.login(b, w.Site+"/alias").location(), "/alias")
	equal(t, "a page", b.navigate(w.Site+"/alias").StatusCode, http.StatusOK)
	for name, words := range map[string]string{"caddy.log": `"X-Forwarded-Uri":["/truelayer?`, "access.log": `"status":502`} {
		log, err := os.ReadFile(w.Data + "/" + name) //nolint:gosec // a file of the tests' own
		if err != nil || !strings.Contains(string(log), words) {
			t.Errorf("%s has no %s: %v", name, words, err)
		}
	}
}
