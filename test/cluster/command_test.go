package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// clinic is a Caddy that is set up in one way after the other, and the command that
// looks for what is wrong.
type clinic struct {
	*testing.T
	node *Caddy
	sim  *simulator.Simulator
	auth string // the simulator's URL
	away string // an application that is not behind the module
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	c := &clinic{T: t, node: newCaddy(t, caddyBinary, "caddy")}
	c.away = serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })).URL
	redirects := []string{c.node.URL + "/truelayer", c.away + "/truelayer"}
	sim, err := simulator.New(simulator.Config{Clients: []simulator.Client{
		{ID: clientID, Secret: clientSecret, RedirectURIs: redirects},
		{ID: "sandbox-poor", Secret: clientSecret, RedirectURIs: redirects, NoBanks: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.sim, c.auth = sim, serve(t, sim).URL
	c.node.write(c.caddyfile(setup{}))
	c.node.Start()
	return c
}

// setup is a way to set a block up. Its zero value is a good one.
type setup struct {
	client, secret, redirect, server, options, site string
	wrong                                           func(*simulator.Simulator)
}

// caddyfile is the configuration of a set-up.
func (c *clinic) caddyfile(s setup) string {
	or := func(value, other string) string {
		if value == "" {
			return other
		}
		return value
	}
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	default_bind 127.0.0.1
	servers {
		protocols h1
	}
}
http://:%d {
	%s
	truelayer {
		client_id     %s
		client_secret %s
		redirect_uri  %s
		auth_server   %s
		%s
	}
	respond hello
}
`, strings.TrimPrefix(c.node.admin, "http://"), c.node.port, s.site, or(s.client, clientID), or(s.secret, "{env.TEST_CLIENT_SECRET}"),
		or(s.redirect, c.node.URL+"/truelayer"), or(s.server, c.auth), s.options)
}

// use sets the Caddy and the simulator up.
func (c *clinic) use(s setup) {
	c.Helper()
	c.sim.ClearFaults()
	c.sim.Set(func(s *simulator.Settings) { s.ClockSkew, s.Refused, s.Unhealthy = 0, "page", nil })
	if s.wrong != nil {
		s.wrong(c.sim)
	}
	if err := c.node.Reload(c.caddyfile(s)); err != nil {
		c.Fatal(err)
	}
}

// run runs `caddy truelayer` with arguments, and returns its exit status and output.
func (c *clinic) run(environment []string, arguments ...string) (status int, stdout, stderr string) {
	c.Helper()
	cmd := exec.CommandContext(c.Context(), caddyBinary, append([]string{"truelayer"}, arguments...)...) //nolint:gosec // a program of the tests' own
	var out, log bytes.Buffer
	home := c.TempDir()
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &log, home
	cmd.Env = append([]string{"HOME=" + home, "XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home}, environment...)
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status, err = exit.ExitCode(), nil
	}
	if err != nil {
		c.Fatal(err)
	}
	for _, text := range []string{out.String(), log.String()} {
		if strings.Contains(text, clientSecret) || strings.Contains(text, "wrong-secret") {
			c.Errorf("a secret is printed: %s", text)
		}
	}
	return status, out.String(), log.String()
}

// admin is the flag that leads to the clinic's Caddy.
func (c *clinic) admin() string { return "--address=" + strings.TrimPrefix(c.node.admin, "http://") }

// marked returns the lines of the output that begin with a mark.
func marked(output, mark string) (lines []string) {
	for line := range strings.Lines(output) {
		if rest, found := strings.CutPrefix(line, "  "+mark+" "); found {
			lines = append(lines, strings.Join(strings.Fields(rest), " "))
		}
	}
	return lines
}

// check compares the lines with a mark with how they have to begin.
func (c *clinic) check(output, mark string, want []string) {
	c.Helper()
	got := marked(output, mark)
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		c.Errorf("marked %s: %q, not %q, in\n%s", mark, got, want, output)
	}
}

// TestAuthLink: the link is the one that a visitor would get, and TrueLayer takes it.
func TestAuthLink(t *testing.T) {
	c := newClinic(t)
	c.use(setup{})
	site := strings.TrimPrefix(c.node.URL, "http://") + "/truelayer"
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(c.caddyfile(setup{})), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, arguments := range map[string][]string{"running": {c.admin()}, "one site": {c.admin(), "--site=" + site}, "file": {"--config=" + file}} {
		status, output, _ := c.run([]string{"TEST_CLIENT_SECRET=" + clientSecret}, append([]string{"auth-link"}, arguments...)...)
		equal(t, name+": exit status", status, 0)
		link := strings.TrimSpace(output)
		callback, err := simulator.Approve(t.Context(), nil, link)
		if err != nil || !strings.HasPrefix(callback, c.node.URL+"/truelayer?code=") {
			t.Errorf("%s: %s: %s, %v", name, link, callback, err)
		}
	}
}

// TestWrongUsage: wrong usage has a status of its own, and nothing is done.
func TestWrongUsage(t *testing.T) {
	c := newClinic(t)
	for _, test := range []struct {
		status    int
		arguments string
	}{
		{0, ""},
		{0, "sessions"},
		{0, "doctor --help"},
		{2, "docter"},
		{2, "doctor too much"},
		{2, "doctor --unknown"},
		{2, "doctor --output yaml"},
		{2, "sessions lst"},
		{2, "sessions list --limit 0"},
		{2, "sessions revoke"},
		{2, "sessions revoke a b"},
		{2, "sessions revoke a --all"},
		{2, "sessions revoke --site a --all"},
		{1, "doctor --config /nowhere/Caddyfile"},
		{1, "doctor " + c.admin() + " --site app.example.com/nowhere"},
		{1, fmt.Sprintf("doctor --address 127.0.0.1:%d", freePort(t))},
	} {
		status, _, _ := c.run(nil, strings.Fields(test.arguments)...)
		equal(t, test.arguments, status, test.status)
	}
}

// TestSessionsCommand: sessions are listed, counted and ended.
func TestSessionsCommand(t *testing.T) {
	w := NewWorld(t, Config{Caddy: caddyBinary, Nodes: 1, Store: "memory"}).Start()
	browsers := w.signIn(t, 3)
	c := &clinic{T: t, node: w.Nodes[0]}
	site := strings.TrimPrefix(w.Front, "http://") + "/truelayer"
	list := func(arguments ...string) (ids []string) {
		status, output, log := c.run(nil, append([]string{"sessions", "list", "--output=json", c.admin()}, arguments...)...)
		equal(t, "exit status", status, 0)
		var answer struct {
			Sessions []struct{ ID, Site string }
		}
		if err := json.Unmarshal([]byte(output), &answer); err != nil {
			t.Fatal(err, output, log)
		}
		for _, s := range answer.Sessions {
			equal(t, "site", s.Site, site)
			ids = append(ids, s.ID)
		}
		return ids
	}
	ids := list()
	equal(t, "sessions", len(ids), 3)
	equal(t, "sessions with a limit", len(list("--limit=2")), 2)
	equal(t, "sessions at another bank", len(list("--provider=ob-nowhere")), 0)
	_, output, _ := c.run(nil, "sessions", "list", c.admin(), "--site", site)
	if lines := strings.Split(strings.TrimSpace(output), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "ID ") {
		t.Errorf("the list is\n%s", output)
	}
	_, output, _ = c.run(nil, "sessions", "count", c.admin())
	if fields := strings.Join(strings.Fields(output), " "); fields != "SITE PROVIDER SESSIONS "+site+" mock 3 total 3" {
		t.Errorf("the count is\n%s", output)
	}

	status, output, _ := c.run(nil, "sessions", "revoke", ids[0], c.admin())
	equal(t, "exit status", status, 0)
	equal(t, "output", output, "ended: 1, failed: 0\n")
	status, _, _ = c.run(nil, "sessions", "revoke", strings.Repeat("0", 64), c.admin())
	equal(t, "exit status for an unknown session", status, 1)
	status, output, _ = c.run(nil, "sessions", "revoke", "--site", site, c.admin())
	equal(t, "exit status", status, 0)
	equal(t, "output", output, "ended: 2, failed: 0\n")
	equal(t, "sessions", len(list()), 0)
	for _, b := range browsers {
		equal(t, "answer", must(t)(b.Fetch(t.Context(), w.Nodes[0].URL+"/page")).Reason, "session_revoked")
	}
}
