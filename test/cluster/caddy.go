package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds the Caddy of examples/caddy into a directory, as it is
// released. The working directory is this module's.
func Build(ctx context.Context, directory string) (binary string, err error) {
	return buildFrom(ctx, "../..", directory)
}

// buildFrom builds the Caddy of a source tree.
func buildFrom(ctx context.Context, source, directory string) (binary string, err error) {
	binary = filepath.Join(directory, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-C", source, "-o", binary, "./examples/caddy") //nolint:gosec // a program of the tests' own
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./examples/caddy: %w\n%s", err, output)
	}
	return binary, nil
}

// Caddy is a node: a Caddy with the module, listening on a port of its own.
type Caddy struct {
	*Process
	URL   string // where it serves
	admin string // its admin endpoint's URL
	port  int
	file  string // its Caddyfile
}

// NewCaddy prepares a node that runs a Caddyfile, which is made for its port and the address of
// its admin endpoint.
func NewCaddy(o Owner, binary, name string, caddyfile func(port int, admin string) string) *Caddy {
	o.Helper()
	c := newCaddy(o, binary, name)
	c.write(caddyfile(c.port, strings.TrimPrefix(c.admin, "http://")))
	return c
}

// newCaddy prepares a node of a world.
func newCaddy(o Owner, binary, name string) *Caddy {
	o.Helper()
	c := &Caddy{port: freePort(o), admin: fmt.Sprintf("http://127.0.0.1:%d", freePort(o))}
	c.URL = fmt.Sprintf("http://127.0.0.1:%d", c.port)
	home := o.TempDir()
	c.file = filepath.Join(home, "Caddyfile")
	c.Process = newProcess(o, name, []string{
		"HOME=" + home, "XDG_DATA_HOME=" + home + "/data", "XDG_CONFIG_HOME=" + home + "/config",
		"TEST_CLIENT_SECRET=" + clientSecret, "TEST_WRONG_SECRET=wrong-secret",
	}, binary, "run", "--config", c.file, "--adapter", "caddyfile")
	return c
}

// write writes the Caddyfile that the node starts with.
func (c *Caddy) write(caddyfile string) {
	c.owner.Helper()
	if err := os.WriteFile(c.file, []byte(caddyfile), 0o600); err != nil {
		c.owner.Fatalf("%v", err)
	}
}

// Start starts the node and waits until it answers requests.
func (c *Caddy) Start() {
	c.owner.Helper()
	c.Process.Start()
	c.awaitReady(func() bool {
		// the page of who is signed out is the same with every store
		resp, err := get(c.owner.Context(), c.URL+"/truelayer/logout")
		return err == nil && strings.Contains(resp, "You are signed out")
	})
}

// Upgrade replaces the node's program, as a package manager does, and starts it again.
func (c *Caddy) Upgrade(binary string) {
	c.owner.Helper()
	c.Stop()
	c.argv[0] = binary
	c.Start()
}

// Reload gives the node a new configuration, as `caddy reload --force` does.
// The error is the node's refusal.
func (c *Caddy) Reload(caddyfile string) error {
	req, err := http.NewRequestWithContext(c.owner.Context(), http.MethodPost, c.admin+"/load", strings.NewReader(caddyfile))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	_, err = ask(req)
	return err
}

// get gets what is not for browsers.
func get(ctx context.Context, url string) (body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	body, err = ask(req)
	if isClosedByReload(err) { // the admin endpoint was replaced before it answered
		body, err = ask(req)
	}
	return body, err
}

// single keeps no connections: a reload replaces the admin endpoint.
var single = &http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}

func ask(req *http.Request) (body string, err error) {
	resp, err := single.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(text))
	}
	return string(text), err
}

// measure reads a number from one of the node's profiles.
func (c *Caddy) measure(profile, format string) (n int) {
	c.owner.Helper()
	text, err := get(c.owner.Context(), c.admin+"/debug/pprof/"+profile)
	if err != nil {
		c.owner.Fatalf("%s: %v", profile, err)
	}
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, format, &n); err == nil {
			return n
		}
	}
	c.owner.Fatalf("%s: no line %q", profile, format)
	return 0
}

// Goroutines is how many the node has.
func (c *Caddy) Goroutines() int {
	c.owner.Helper()
	return c.measure("goroutine?debug=1", "goroutine profile: total %d")
}

// Heap is how many bytes the node holds after a garbage collection.
func (c *Caddy) Heap() int {
	c.owner.Helper()
	return c.measure("heap?gc=1&debug=1", "# HeapAlloc = %d")
}
