// Package redisserver runs a real Redis for a test.
package redisserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
)

// Server is a Redis of a test's own, on a free port of the loopback interface.
type Server struct {
	Address string

	t         testing.TB
	arguments []string
	command   *exec.Cmd
}

// Start runs a Redis that keeps nothing on disk, unless further arguments of
// the program say otherwise, until the test ends.
func Start(t testing.TB, arguments ...string) *Server {
	t.Helper()
	return start(t, append([]string{"--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, arguments...))
}

// StartReplica runs a replica of a Redis.
func StartReplica(t testing.TB, of *Server, arguments ...string) *Server {
	t.Helper()
	return Start(t, append([]string{"--replicaof", "127.0.0.1", of.Port()}, arguments...)...)
}

// StartSentinel runs a Sentinel that watches over the primary at an address,
// and by itself never replaces it within the time of a test.
func StartSentinel(t testing.TB, name, address string) *Server {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	file := filepath.Join(directory, "sentinel.conf") // where it writes what it learns
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]s 1\nsentinel down-after-milliseconds %[1]s 600000\n", name, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, []string{file, "--sentinel", "--bind", "127.0.0.1", "--dir", directory})
}

func start(t testing.TB, arguments []string) *Server {
	t.Helper()
	s := &Server{t: t, arguments: arguments}
	for range 20 {
		port, err := loopback.Port()
		if err != nil {
			t.Fatal(err)
		}
		s.Address = fmt.Sprintf("127.0.0.1:%d", port)
		if s.run() == nil {
			t.Cleanup(s.Kill)
			return s
		}
	}
	t.Fatal("redis-server does not start")
	return nil
}

// run starts the program and waits until it answers.
func (s *Server) run() error {
	s.command = exec.CommandContext(context.WithoutCancel(s.t.Context()), "redis-server", append(slices.Clone(s.arguments), "--port", s.Port())...) //nolint:gosec // a program of the tests' own
	if err := s.command.Start(); err != nil {
		s.t.Fatalf("%v; it is in the Debian package redis-server", err)
	}
	ended := make(chan error, 1)
	go func(command *exec.Cmd) { ended <- command.Wait() }(s.command)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-ended: // most likely the port is somebody else's
			return fmt.Errorf("redis-server ended: %w", err)
		default:
		}
		if answer, err := s.Do("PING"); err == nil && answer == "+PONG" {
			return s.isOurs()
		}
	}
	s.Kill()
	return fmt.Errorf("redis-server does not answer")
}

// isOurs makes sure that it is not another Redis that answers.
func (s *Server) isOurs() error {
	answer, err := s.Do("INFO", "server")
	if err == nil && !strings.Contains(answer, fmt.Sprintf("process_id:%d\r\n", s.command.Process.Pid)) {
		err = fmt.Errorf("another Redis answers at %s", s.Address)
	}
	return err
}

// Port is the address's.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Address)
	return port
}

// Stats returns a section of what the server says about itself. A server whose role changes
// closes its connections, so it is asked again.
func (s *Server) Stats(section string) map[string]string {
	s.t.Helper()
	stats, err := Info(s.Address, section)
	for tries := 1; err != nil && tries < 5; tries++ {
		stats, err = Info(s.Address, section)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return stats
}

// Info returns a section of what the server at an address says about itself.
func Info(address, section string) (map[string]string, error) {
	answer, err := (&Server{Address: address}).Do("INFO", section)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(answer) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// Must sends a command that has to be answered so.
func (s *Server) Must(want string, words ...string) {
	s.t.Helper()
	if answer, err := s.Do(words...); err != nil || answer != want {
		s.t.Fatalf("%s: %q, %v", strings.Join(words, " "), answer, err)
	}
}

// Do sends a command and returns the answer: the text of a bulk string, and
// the first line of anything else as it came.
func (s *Server) Do(words ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Address, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
	}
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	if length, isBulk := strings.CutPrefix(strings.TrimSpace(line), "$"); isBulk && length != "-1" {
		n, _ := strconv.Atoi(length)
		text := make([]byte, n)
		_, err = io.ReadFull(reader, text)
		return string(text), err
	}
	return strings.TrimSpace(line), err
}

// Kill ends the program at once, as kill -9 does. What it had acknowledged is
// on disk only as far as its arguments say.
func (s *Server) Kill() {
	_ = s.command.Process.Kill()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if conn, err := net.DialTimeout("tcp", s.Address, time.Second); err != nil {
			return
		} else {
			_ = conn.Close()
		}
	}
}

// Restart runs it again, at the same address and in the same directory.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze makes the program stand still: connections stay, nobody answers.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets it go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.command.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}
