package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// process is a running role.
type process struct {
	// Address is where the role answers requests, Control where it answers us.
	Address, Control string

	command *exec.Cmd
	stdin   io.Closer
	// pid is the process whose processor time counts as the role's.
	pid int
}

// start runs a role with at most procs processors and waits until it is ready.
func start(ctx context.Context, role string, procs int, config any) (*process, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, self, "role", role, string(text)) //nolint:gosec // a program of the tests' own
	command.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe() // its end tells the role to stop, also when we are killed
	if err != nil {
		return nil, err
	}
	command.Cancel = stdin.Close    // in place of a kill, so that it tidies up
	command.WaitDelay = time.Minute // there may be many files to remove
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{command: command, stdin: stdin, pid: command.Process.Pid}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, p)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("starting %s: %w", role, err)
	}
	return p, nil
}

// stop ends the role.
func (p *process) stop() {
	_ = p.stdin.Close()
	killed := time.AfterFunc(p.command.WaitDelay, func() { _ = p.command.Process.Kill() })
	defer killed.Stop()
	_ = p.command.Wait()
}

// call asks the role's control for something; the caller closes the answer.
func (p *process) call(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Control+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return nil, fmt.Errorf("%s: %s: %s", path, answer.Status, strings.TrimSpace(string(text)))
	}
	return answer.Body, nil
}

// ask is a call whose answer is JSON.
func (p *process) ask(ctx context.Context, path string, query url.Values, answer any) error {
	body, err := p.call(ctx, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(answer)
}

// tick is the unit of times in /proc. It is a hundredth of a second on every
// system that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the processor time that the process has used, in its own code and in
// the kernel's for it. No process has used none.
func (p *process) cpu() (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, err
	}
	// the second field is the program's name in parentheses, which may hold spaces
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has another form than expected", p.pid)
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
