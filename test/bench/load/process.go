package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	_ "github.com/caddy-truelayer/caddy-truelayer/redisstore"
)

// The roles, which are this command again, as "load role <name> <config>".
const (
	roleCaddy       = "caddy"       // with a configuration in JSON
	roleApplication = "application" // behind the Caddys, at an address
)

// process is a role that another process plays.
type process struct {
	address string
	pid     int

	questions io.Writer
	answers   *json.Decoder
}

// start begins a role with at most procs processors and waits until it is
// ready. It ends with the part, or with the load if that is killed.
func (m *measurement) start(role string, procs int, address, config string) *process {
	self, err := os.Executable()
	m.check(err)
	command := exec.CommandContext(m.ctx, self, "role", role, config) //nolint:gosec // a program of the tests' own
	data := m.TempDir()                                               // not the user's
	command.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs), "XDG_DATA_HOME="+data, "XDG_CONFIG_HOME="+data)
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	m.check(err)
	stdout, err := command.StdoutPipe()
	m.check(err)
	m.check(command.Start())
	m.Cleanup(func() {
		_ = stdin.Close()
		_ = command.Wait()
	})
	p := &process{address: address, pid: command.Process.Pid, questions: stdin, answers: json.NewDecoder(stdout)}
	if err := p.answers.Decode(new(memory)); err != nil {
		m.Fatalf("starting %s: %v", role, err)
	}
	return p
}

// memory asks what the process occupies now.
func (m *measurement) memory(p *process) (now memory) {
	_, err := fmt.Fprintln(p.questions)
	m.check(err)
	m.check(p.answers.Decode(&now))
	return now
}

// play plays a role until there are no more questions: whoever started it is
// gone then. Each line is the question what the process occupies, which is also
// the first thing it says.
func play(role, config string, questions io.Reader, answers io.Writer) (err error) {
	switch role {
	case roleCaddy:
		err = caddy.Load([]byte(config), true)
	case roleApplication:
		err = serveApplication(config)
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		return err
	}
	lines, out := bufio.NewScanner(questions), json.NewEncoder(answers)
	for {
		if err := out.Encode(occupied()); err != nil {
			return err
		}
		if !lines.Scan() {
			return lines.Err()
		}
	}
}

// memory is what a process occupies, in bytes.
type memory struct{ Heap, Resident int64 }

// occupied is what this process occupies after everything that can be given
// back was.
func occupied() memory {
	// the first collection leaves what was in a sync.Pool to the second
	runtime.GC()
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	now := memory{Heap: int64(stats.HeapAlloc)} //nolint:gosec // no machine has so much
	if self, err := procfs.Self(); err == nil {
		if stat, err := self.Stat(); err == nil {
			now.Resident = int64(stat.ResidentMemory())
		}
	}
	return now
}

// serveApplication runs an application that answers at once, but only who
// brings a token and no cookie of ours: otherwise a mistake in the measurement
// could look like speed.
func serveApplication(address string) error {
	body := []byte(strings.Repeat("All is well. ", 20))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		if !strings.HasPrefix(token, "Bearer eyJ") || strings.Contains(r.Header.Get("Cookie"), "truelayer") {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		if r.URL.Path == "/token" {
			fmt.Fprint(w, token) //nolint:gosec // what the load looks at
			return
		}
		_, _ = w.Write(body)
	})}
	go func() { _ = server.Serve(listener) }()
	return nil
}
