package cluster

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestDoctor: the command finds what is wrong with a set-up, all of it and nothing else.
func TestDoctor(t *testing.T) {
	c := newClinic(t)
	fail := func(endpoint string, f simulator.Fault) func(*simulator.Simulator) {
		return func(s *simulator.Simulator) { s.Fail(endpoint, f) }
	}
	settings := func(change func(*simulator.Settings)) func(*simulator.Simulator) {
		return func(s *simulator.Simulator) { s.Set(change) }
	}
	keys := "verify_access_token " + c.auth + "/.well-known/openid-configuration/jwks"
	untrusted := httptest.NewTLSServer(c.sim)
	t.Cleanup(untrusted.Close)
	nobody := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	log := filepath.Join(t.TempDir(), "access.log")

	for name, test := range map[string]struct {
		setup
		failures, warnings []string
	}{
		"good": {},
		"good with everything": {setup: setup{
			options: "provider_id mock\n\t\tproviders uk-cs-mock\n\t\tscopes verification offline_access\n\t\t" + keys,
			site:    "log {\n\t\toutput file " + log + "\n\t\tformat filter {\n\t\t\trequest>uri truelayer\n\t\t\tresp_headers>Location truelayer\n\t\t}\n\t}",
		}},
		"unknown client": {
			setup: setup{client: "sandbox-nobody"},
			failures: []string{
				"providers TrueLayer knows no bank for this client_id", "token endpoint the client is refused with invalid_client", "auth link 127.0.0.1",
			},
		},
		"wrong secret": {
			setup:    setup{secret: "{env.TEST_WRONG_SECRET}"}, //nolint:gosec // a placeholder
			failures: []string{"token endpoint the client is refused with invalid_client"},
		},
		"unregistered redirect URI": {
			setup:    setup{redirect: c.node.URL + "/truelayer/unregistered"},
			failures: []string{"auth link " + strings.TrimPrefix(c.auth, "http://") + " answers with 400"},
		},
		"unregistered redirect URI, refused as TrueLayer is seen to": {
			setup: setup{
				redirect: c.node.URL + "/truelayer/unregistered", wrong: settings(func(s *simulator.Settings) { s.Refused = "redirect" }),
			},
			warnings: []string{"auth link the link leads to " + strings.TrimPrefix(c.auth, "http://") + "/error"},
		},
		"client without banks": {setup: setup{client: "sandbox-poor"}, failures: []string{"providers TrueLayer knows no bank"}},
		"bank not enabled": {
			setup:    setup{options: "provider_id ob-nowhere\n\t\tproviders ob-nowhere"},
			failures: []string{"providers the client may use 30 banks, and provider_id ob-nowhere is none of them"},
		},
		"unhealthy bank": {
			setup: setup{
				options: "provider_id ob-kestrel", wrong: settings(func(s *simulator.Settings) { s.Unhealthy = []string{"ob-kestrel"} }),
			},
			warnings: []string{`providers TrueLayer says that ob-kestrel is "unhealthy"`},
		},
		"clock": {
			setup:    setup{wrong: settings(func(s *simulator.Settings) { s.ClockSkew = 90e9 })},
			failures: []string{"clock this machine's clock is 1m"},
		},
		"token endpoint broken": {
			setup:    setup{wrong: fail(simulator.Token, simulator.Fault{Status: 503, Body: "<html>", ContentType: "text/html"})},
			failures: []string{"token endpoint the token endpoint answers with 503"},
		},
		"providers broken": {
			setup:    setup{wrong: fail(simulator.Providers, simulator.Fault{Status: 500})},
			failures: []string{"providers listing providers: unexpected answer with status 500"},
		},
		"key set broken": {
			setup:    setup{options: keys, wrong: fail(simulator.JWKS, simulator.Fault{Status: 404})},
			failures: []string{"key set " + c.auth},
		},
		"key set without keys": {
			setup:    setup{options: keys, wrong: fail(simulator.JWKS, simulator.Fault{Body: `{"keys":[{"kty":"OKP"}]}`})},
			failures: []string{"key set " + c.auth + "/.well-known/openid-configuration/jwks has no key"},
		},
		"auth link refused": {
			setup:    setup{wrong: fail(simulator.Authorize, simulator.Fault{Status: 403})},
			failures: []string{"auth link " + strings.TrimPrefix(c.auth, "http://") + " answers with 403"},
		},
		"auth server not there": {
			setup: setup{server: nobody}, failures: []string{"auth server " + nobody + " does not answer"},
		},
		"auth server not trusted": {
			setup: setup{server: untrusted.URL}, failures: []string{"auth server " + untrusted.URL + " does not answer"},
		},
		"redirect URI elsewhere": {
			setup: setup{redirect: c.away + "/truelayer"}, failures: []string{"redirect URI the answer is 200 and not the module's"},
		},
		"redirect URI taken away": {
			setup:    setup{site: "redir /truelayer /welcome"},
			failures: []string{"redirect URI the answer is a redirect, 302, to"},
		},
		"store not there": {
			setup:    setup{options: "store redis {\n\t\t\taddress " + strings.TrimPrefix(nobody, "http://") + "\n\t\t}"},
			failures: []string{"store writing a record failed"},
		},
		"literal secret": {
			setup: setup{secret: clientSecret}, warnings: []string{"credentials client_secret stands in the configuration itself"},
		},
		"access log without filter": {
			setup: setup{site: "log {\n\t\toutput file " + log + "\n\t}"}, warnings: []string{"access logs codes and states"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := *c
			c.T = t
			c.use(test.setup)
			status, output, log := c.run(nil, "doctor", c.admin())
			want := 0
			if len(test.failures) > 0 {
				want = 1
			}
			equal(t, "exit status", status, want)
			c.check(output, "✗", test.failures)
			c.check(output, "!", test.warnings)
			if strings.TrimSpace(log) != "" {
				t.Errorf("it logs %s", log)
			}
		})
	}
}

// TestDoctorOfFile: with --config the command checks a configuration that is not loaded.
func TestDoctorOfFile(t *testing.T) {
	c := newClinic(t)
	secret := []string{"TEST_CLIENT_SECRET=" + clientSecret}
	log := "log {\n\t\toutput file " + filepath.Join(t.TempDir(), "access.log")
	for name, test := range map[string]struct {
		setup
		environment        []string
		failures, warnings []string
		skipped            int
	}{
		"good":              {environment: secret, skipped: 1},
		"no credentials":    {failures: []string{"credentials client_secret: the placeholder {env.TEST_CLIENT_SECRET}"}, skipped: 6},
		"unfiltered access": {setup: setup{site: log + "\n\t}"}, environment: secret, warnings: []string{"access logs codes and states"}, skipped: 1},
		"filtered access": {setup: setup{
			site: log + "\n\t\tformat filter {\n\t\t\trequest>uri truelayer\n\t\t\tresp_headers>Location truelayer\n\t\t}\n\t}",
		}, environment: secret, skipped: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := *c
			c.T = t
			file := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(file, []byte(c.caddyfile(test.setup)), 0o600); err != nil {
				t.Fatal(err)
			}
			status, output, _ := c.run(test.environment, "doctor", "--config", file)
			want := 0
			if len(test.failures) > 0 {
				want = 1
			}
			equal(t, "exit status", status, want)
			c.check(output, "✗", test.failures)
			c.check(output, "!", test.warnings)
			if skipped := marked(output, "-"); len(skipped) != test.skipped {
				t.Errorf("%d are skipped: %q", len(skipped), skipped)
			}
		})
	}
}

// TestDoctorOfJSON: blocks are found at any depth, and one that Caddy would refuse is
// reported.
func TestDoctorOfJSON(t *testing.T) {
	c := newClinic(t)
	block := func(options string) string {
		return fmt.Sprintf(`{"handler":"truelayer","client_id":%q,"client_secret":"{env.TEST_CLIENT_SECRET}","redirect_uri":%q,"auth_server":%q%s}`,
			clientID, c.node.URL+"/truelayer", c.auth, options)
	}
	server := func(handler string) string {
		return `{"listen":[":0"],"routes":[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"subroute","routes":[{"handle":[` + handler + `]}]}]}]}]}]}`
	}
	file := filepath.Join(t.TempDir(), "caddy.json")
	config := `{"apps":{"http":{"servers":{"a":` + server(block("")) + `,"b":` + server(block(`,"cookie_name":"a=b"`)) + `,"c":` + server(block(`,"cooky_name":"a"`)) + `}}}}`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	status, output, _ := c.run([]string{"TEST_CLIENT_SECRET=" + clientSecret}, "doctor", "--config", file)
	equal(t, "exit status", status, 1)
	c.check(output, "✗", []string{`options cookie_name "a=b"`, `options json: unknown field "cooky_name"`})
	if found := strings.Count(output, strings.TrimPrefix(c.node.URL, "http://")+"/truelayer\n"); found != 3 {
		t.Errorf("%d blocks in\n%s", found, output)
	}
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(empty, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, _ = c.run(nil, "doctor", "--config", empty)
	equal(t, "exit status without a block", status, 1)
	status, _, log := c.run([]string{"TEST_CLIENT_SECRET=" + clientSecret}, "auth-link", "--config", file)
	if equal(t, "exit status", status, 1); !strings.Contains(log, "caddy truelayer doctor --config") {
		t.Error(log)
	}
}

// TestDoctorOffline: without the network nothing is sent, and the answer is JSON if that
// is asked for.
func TestDoctorOffline(t *testing.T) {
	c := newClinic(t)
	c.use(setup{})
	before := c.sim.Calls(simulator.Providers) + c.sim.Calls(simulator.Token) + c.sim.Calls(simulator.Authorize)
	status, output, _ := c.run(nil, "doctor", c.admin(), "--offline", "--output", "json")
	equal(t, "exit status", status, 0)
	equal(t, "calls", c.sim.Calls(simulator.Providers)+c.sim.Calls(simulator.Token)+c.sim.Calls(simulator.Authorize), before)
	var answer struct {
		OK     bool
		Blocks []struct {
			Site     string
			Findings []struct{ Check, Level, Seen, Remedy string }
		}
	}
	if err := json.Unmarshal([]byte(output), &answer); err != nil {
		t.Fatal(err, output)
	}
	if !answer.OK || len(answer.Blocks) != 1 || answer.Blocks[0].Site != strings.TrimPrefix(c.node.URL, "http://")+"/truelayer" || len(answer.Blocks[0].Findings) < 9 {
		t.Errorf("%+v", answer)
	}
}
