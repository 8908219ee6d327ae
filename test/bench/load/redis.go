package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// redisRole is what the role with a Redis server is told.
type redisRole struct {
	// Program is where the server is.
	Program string
	// AOF writes every change to a file, which reaches the disk once a second.
	AOF bool
}

// startRedis starts a Redis server that ends, with all that it holds, when the
// returned process does. It is that one's processor time which is counted.
func startRedis(ctx context.Context, aof bool) (*process, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("there is no redis-server: install the package that Debian and Ubuntu call redis-server")
	}
	p, err := start(ctx, roleRedis, 1, redisRole{program, aof})
	if err != nil {
		return nil, err
	}
	if err := p.ask(ctx, "/pid", nil, &p.pid); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// playRedis keeps a Redis server, which by itself would not notice that
// whoever wanted it is gone.
func playRedis(config []byte, control *http.ServeMux) (address string, stop func(), err error) {
	var role redisRole
	if err := json.Unmarshal(config, &role); err != nil {
		return "", nil, err
	}
	data, err := os.MkdirTemp("", "truelayer-bench-")
	if err != nil {
		return "", nil, err
	}
	var server *redisServer
	for range 3 { // somebody may take the port that was free a moment ago
		if server, err = role.run(data); err == nil {
			break
		}
	}
	if err != nil {
		_ = os.RemoveAll(data)
		return "", nil, err
	}
	control.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(server.command.Process.Pid)
	})
	return server.address, func() {
		server.stop()
		_ = os.RemoveAll(data)
	}, nil
}

// redisServer is a running server.
type redisServer struct {
	command *exec.Cmd
	address string
	exited  chan struct{}
}

// run starts a server and waits until it answers.
func (role *redisRole) run(data string) (*redisServer, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	aof := "no"
	if role.AOF {
		aof = "yes"
	}
	log := filepath.Join(data, "log")
	// no snapshots and no rewriting: they would begin in the middle of a round
	command := exec.Command(role.Program, "--bind", "127.0.0.1", "--port", port, "--dir", data, "--logfile", log, //nolint:gosec // a program of the tests' own
		"--save", "", "--appendonly", aof, "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
	if err := command.Start(); err != nil {
		return nil, err
	}
	s := &redisServer{command, address, make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(s.exited)
	}()
	if err := s.ready(); err != nil {
		s.stop()
		text, _ := os.ReadFile(log) //nolint:gosec // a file of the tests' own
		return nil, fmt.Errorf("%w; its log ends with: %s", err, bytes.TrimSpace(text[max(0, len(text)-500):]))
	}
	return s, nil
}

// ready waits until the server answers, and not another one at the same port.
func (s *redisServer) ready() error {
	tries := time.NewTicker(10 * time.Millisecond)
	defer tries.Stop()
	late := time.After(20 * time.Second)
	for {
		if c, err := dialRedis(s.address); err == nil {
			server, err := c.info("server")
			c.close()
			if err == nil && server["process_id"] == strconv.Itoa(s.command.Process.Pid) {
				return nil
			}
		}
		select {
		case <-tries.C:
		case <-s.exited:
			return errors.New("redis-server ended at once")
		case <-late:
			return errors.New("redis-server does not answer")
		}
	}
}

// stop ends the server. What it holds is nobody's any more, so it is not asked
// to save it.
func (s *redisServer) stop() {
	_ = s.command.Process.Kill()
	<-s.exited
}
