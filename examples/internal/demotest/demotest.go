// Package demotest runs an example for its test, and visits it.
package demotest

import (
	"bufio"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demo"
	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
)

// Run is an example that runs.
type Run struct {
	Site  string       // its address
	Ended <-chan error // how it ended
	Said  string       // before it was ready
	stop  context.CancelFunc
}

// Launch runs an example, at most until the test ends, and returns when it is ready.
// The caller has called SetUp.
func Launch(t *testing.T, example *demo.Example, flags ...string) *Run {
	t.Helper()
	flags = append(Ports(t, example), flags...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	output, write := io.Pipe()
	go func() {
		ended <- example.Run(ctx, flags, write)
		_ = write.Close()
	}()
	var said []string
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if site, ready := strings.CutPrefix(lines.Text(), "ready: "); ready {
			return &Run{site, ended, strings.Join(said, "\n"), cancel}
		}
		said = append(said, lines.Text())
	}
	cancel()
	t.Fatalf("said %q: %v", said, <-ended)
	return nil
}

// Start runs an example until the test ends. It checks what the example says before it
// is ready, and that it leaves nothing behind.
func Start(t *testing.T, example *demo.Example, flags ...string) (site string) {
	t.Helper()
	temporary := SetUp(t)
	run := Launch(t, example, flags...)
	t.Cleanup(func() {
		run.stop()
		if err := <-run.Ended; err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	Contains(t, "what it says", run.Said, "started a simulation of TrueLayer at http://", "starting Caddy")
	if example.HasApplication() {
		Contains(t, "what it says", run.Said, "started the application at http://")
	}
	return run.Site
}

// SetUp has the environment set back after the test, and returns the directory for
// temporary files.
func SetUp(t *testing.T) (temporary string) {
	t.Helper()
	for _, name := range []string{
		"TRUELAYER_CLIENT_ID", "TRUELAYER_CLIENT_SECRET", "XDG_DATA_HOME", "XDG_CONFIG_HOME",
		"DEMO_PORT", "DEMO_APP", "DEMO_AUTH_SERVER", "DEMO_API", "DEMO_DATA", "DEMO_FILES", "DEMO_CONSENT",
	} {
		t.Setenv(name, "")
	}
	temporary = t.TempDir()
	t.Setenv("TMPDIR", temporary)
	return temporary
}

// Ports returns the flags that give an example free ports.
func Ports(t *testing.T, example *demo.Example) []string {
	t.Helper()
	flags := []string{"-port", FreePort(t), "-simulator-port", "0"}
	if example.HasApplication() {
		flags = append(flags, "-app-port", FreePort(t))
	}
	return flags
}

// FreePort returns a port at which nothing listens.
func FreePort(t *testing.T) string {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// Contains checks that a page has all the texts.
func Contains(t *testing.T, what, page string, wanted ...string) {
	t.Helper()
	for _, text := range wanted {
		if !strings.Contains(page, text) {
			t.Errorf("%s has no %s: %s", what, text, page)
		}
	}
}
