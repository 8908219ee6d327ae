package browser

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is a command of this project, running.
type program struct {
	t     *testing.T
	home  string // its home, temporary and working directories; empty at first
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended

	mu     sync.Mutex
	output bytes.Buffer
	wanted string
	ready  chan struct{}
}

// startProgram builds a command of the main module and runs it, with nothing
// of this process's environment but what is given, until it has written a line
// with the words that say that it is ready.
func startProgram(t *testing.T, command, ready string, environment []string, arguments ...string) *program {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-o", binary, command) //nolint:gosec // a program of the tests' own
	build.Env = append(os.Environ(), "CGO_ENABLED=0")                                              // as it is released
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", command, err, output)
	}
	p := &program{t: t, home: t.TempDir(), wanted: ready, ready: make(chan struct{}), ended: make(chan struct{})}
	for _, directory := range []string{"home", "tmp", "work"} {
		if err := os.Mkdir(filepath.Join(p.home, directory), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// ends with the test at the latest
	p.cmd = exec.CommandContext(t.Context(), binary, arguments...) //nolint:gosec // a program of the tests' own
	p.cmd.Dir = p.home + "/work"
	p.cmd.Env = append([]string{"HOME=" + p.home + "/home", "TMPDIR=" + p.home + "/tmp"}, environment...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { <-p.ended })
	p.await("starting "+command, p.ready)
	return p
}

// Write takes what the program writes.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output.Write(b)
	if p.wanted != "" && strings.Contains(p.output.String(), p.wanted) {
		p.wanted = ""
		close(p.ready)
	}
	return len(b), nil
}

func (p *program) written() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *program) await(words string, happened <-chan struct{}) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	select {
	case <-happened:
		return
	case <-ctx.Done():
	case <-p.ended:
	}
	p.t.Fatalf("%s: it wrote\n%s", words, p.written())
}

// interrupt presses Ctrl-C and waits for the end.
func (p *program) interrupt() error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		return fmt.Errorf("it does not end; it wrote\n%s", p.written())
	}
}

// leftovers are the files that it has left behind.
func (p *program) leftovers() []string {
	p.t.Helper()
	var left []string
	for _, directory := range []string{"home", "tmp", "work"} {
		entries, err := os.ReadDir(filepath.Join(p.home, directory))
		if err != nil {
			p.t.Fatal(err)
		}
		for _, entry := range entries {
			left = append(left, filepath.Join(directory, entry.Name()))
		}
	}
	return left
}
