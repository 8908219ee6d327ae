// Package packaging tests the files with which people install Caddy with this module: as
// containers, and as a systemd unit on Debian. No container engine and no systemd runs
// here. What those would run is taken from the files, and run without them.
package packaging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// repository is the root of the repository.
const repository = "../.."

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // a file of ours
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// command is a command of at most two minutes. It may also clean up after the test.
func command(t *testing.T, name string, arguments ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, name, arguments...) //nolint:gosec // a program of the tests' own
}

// asRoot is a command that root runs.
func asRoot(t *testing.T, name string, arguments ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() == 0 {
		return command(t, name, arguments...)
	}
	return command(t, "sudo", append([]string{"-n", name}, arguments...)...)
}

// output runs a command, which has to succeed, and returns all that it writes.
func output(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, text)
	}
	return string(text)
}

// port returns a port at which nothing listens.
func port(t *testing.T) string {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// process is a program that runs until the test ends.
type process struct {
	*exec.Cmd

	mu      sync.Mutex
	written bytes.Buffer
}

// start starts a program.
func start(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: command}
	command.Stdout, command.Stderr = p, p
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // sudo passes it on
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", command, p.said())
		}
	})
	return p
}

func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.Write(text)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.String()
}

// succeeds tries a command until it succeeds, for half a minute.
func succeeds(t *testing.T, command func() *exec.Cmd) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		text, err := command().CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v\n%s", command(), err, text)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// listens waits until something listens at an address, for half a minute.
func listens(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = connection.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// visitor opens pages of a site, keeps cookies, and follows no redirect.
type visitor struct {
	site   string
	client *http.Client
}

func newVisitor(t *testing.T, site string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{site, &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// open returns where a page leads, and its text.
func (v *visitor) open(t *testing.T, target string) (location, text string) {
	t.Helper()
	return v.do(t, http.MethodGet, target, nil)
}

// send sends a form to a page of the site, and returns the answer.
func (v *visitor) send(t *testing.T, path string, form url.Values) string {
	t.Helper()
	_, text := v.do(t, http.MethodPost, v.site+path, form)
	return text
}

func (v *visitor) do(t *testing.T, method, target string, form url.Values) (location, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", v.site)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Get("Location"), string(body)
}

// connect opens a guarded page, which leads to the bank and back, and returns the page.
func (v *visitor) connect(t *testing.T, path, authServer string) string {
	t.Helper()
	link, _ := v.open(t, v.site+path)
	if !strings.HasPrefix(link, authServer+"/?") {
		t.Fatalf("%s leads to %q, not to %s", path, link, authServer)
	}
	callback, err := simulator.Approve(t.Context(), nil, link)
	if err != nil {
		t.Fatal(err)
	}
	if back, text := v.open(t, callback); back != path {
		t.Fatalf("the callback leads to %q: %s", back, text)
	}
	_, page := v.open(t, v.site+path)
	return page
}

// stages returns the directory in which the commands of the Dockerfile's build stages
// have run. They run once.
func stages(t *testing.T) string {
	t.Helper()
	directory, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return directory
}

func TestMain(m *testing.M) {
	temporary, err := os.MkdirTemp("", "packaging-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	build = sync.OnceValues(func() (string, error) { return temporary, runStages(temporary) })
	code := m.Run()
	_ = os.RemoveAll(temporary)
	os.Exit(code)
}

// build runs the Dockerfile's build stages.
var build func() (directory string, err error)
