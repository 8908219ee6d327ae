// Package cluster runs what a cluster is made of: Caddys with the module and
// Redis servers as processes of this machine, and in this process a simulated
// TrueLayer, an application and a balancer. The tests kill and freeze the
// processes; the command failover does so with Redis Sentinel and Redis Cluster.
package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
)

// Patience is how long anything is waited for; only failures take it.
const Patience = 60 * time.Second

// Owner is what processes belong to and end with: a test, or a command that
// stands in for one.
type Owner interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	TempDir() string
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
}

// Process is a program that can be killed, frozen and started again.
type Process struct {
	owner       Owner
	name        string
	directory   string // its working directory
	environment []string
	argv        []string

	cmd     *exec.Cmd
	ended   chan struct{}
	killed  atomic.Bool // by this package
	crashed atomic.Bool
}

// newProcess prepares a process with nothing of this one's environment but
// what is given.
func newProcess(o Owner, name string, environment []string, argv ...string) *Process {
	o.Helper()
	p := &Process{owner: o, name: name, directory: o.TempDir(), environment: environment, argv: argv}
	o.Cleanup(func() {
		if p.cmd == nil {
			return
		}
		p.Kill()
		if p.crashed.Load() || o.Failed() {
			o.Logf("%s wrote at last:\n%s", name, p.written())
		}
		if p.crashed.Load() {
			o.Fatalf("%s ended by itself", name)
		}
	})
	return p
}

// starts is served by a thread that never ends: Linux kills the children of a
// thread when that ends, not when its process does (PR_SET_PDEATHSIG).
var starts = sync.OnceValue(func() chan<- func() {
	functions := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range functions {
			f()
		}
	}()
	return functions
})

// Start starts the process, and again after it was killed. It ends with its
// owner at the latest, and also if this process is killed.
func (p *Process) Start() {
	p.owner.Helper()
	output, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.owner.Fatalf("%s: %v", p.name, err)
	}
	defer output.Close()
	cmd := exec.CommandContext(p.owner.Context(), p.argv[0], p.argv[1:]...) //nolint:gosec // a program of the tests' own
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.directory, p.environment, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = Patience
	cmd.Cancel = func() error {
		p.killed.Store(true)
		return cmd.Process.Kill()
	}
	started := make(chan error)
	starts() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		p.owner.Fatalf("%s: %v", p.name, err)
	}
	ended := make(chan struct{})
	p.killed.Store(false)
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait()
		p.crashed.CompareAndSwap(false, !p.killed.Load())
		close(ended)
	}()
}

// Kill ends the process at once, as kill -9 does, and waits until it is gone.
func (p *Process) Kill() {
	p.killed.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Stop ends the process as systemd and containers do, and waits until it is gone.
func (p *Process) Stop() {
	p.owner.Helper()
	p.killed.Store(true)
	p.signal(syscall.SIGTERM)
	<-p.ended
}

// Freeze stops the process as it stands, like a machine that hangs: its
// connections stay, and nothing answers on them.
func (p *Process) Freeze() {
	p.owner.Helper()
	p.signal(syscall.SIGSTOP)
	status := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	Await(p.owner, p.name+" to stand still", func() bool {
		text, err := os.ReadFile(status) //nolint:gosec // a file of the tests' own
		return err == nil && bytes.Contains(text, []byte("State:\tT"))
	})
}

// Thaw lets a process go on that was frozen.
func (p *Process) Thaw() {
	p.owner.Helper()
	p.signal(syscall.SIGCONT)
}

func (p *Process) signal(s os.Signal) {
	p.owner.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.owner.Fatalf("%s: %v", p.name, err)
	}
}

// Usage is the processor time that the process has used so far, and its resident memory in
// bytes. Both are 0 if it does not run.
func (p *Process) Usage() (processor time.Duration, resident int64) {
	select {
	case <-p.ended: // another process may have its number by now
		return 0, 0
	default:
	}
	process, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0
	}
	stat, err := process.Stat()
	if err != nil {
		return 0, 0
	}
	return time.Duration(stat.CPUTime() * float64(time.Second)), int64(stat.ResidentMemory())
}

// awaitReady waits until the process that was started says that it is ready.
func (p *Process) awaitReady(ready func() bool) {
	p.owner.Helper()
	Await(p.owner, p.name+" to start", func() bool {
		select {
		case <-p.ended:
			p.owner.Fatalf("%s ended; it wrote\n%s", p.name, p.written())
		default:
		}
		return ready()
	})
}

func (p *Process) log() string { return filepath.Join(p.directory, "output.log") }

// written is the end of what the process wrote.
func (p *Process) written() []byte {
	text, _ := os.ReadFile(p.log())
	const most = 4 << 10
	return text[max(0, len(text)-most):]
}

// Await waits for something that happens elsewhere.
func Await(o Owner, what string, happened func() bool) {
	o.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !happened() {
		select {
		case <-ticker.C:
		case <-o.Context().Done():
			o.Fatalf("waited for %s: %v", what, o.Context().Err())
		case <-deadline.C:
			o.Fatalf("waited in vain for %s", what)
		}
	}
}

func freePort(o Owner) int {
	o.Helper()
	port, err := loopback.Port()
	if err != nil {
		o.Fatalf("%v", err)
	}
	return port
}
