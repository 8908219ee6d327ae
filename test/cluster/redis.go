package cluster

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Redis is a redis-server on a port of its own that keeps every write on disk
// before it answers, so that a kill loses nothing.
type Redis struct {
	*Process
	Port int
}

// NewRedis prepares a redis-server; arguments are further ones of its command
// line.
func NewRedis(o Owner, arguments ...string) *Redis {
	o.Helper()
	return newRedis(o, append([]string{
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0",
	}, arguments...)...)
}

func newRedis(o Owner, arguments ...string) *Redis {
	o.Helper()
	server, err := exec.LookPath("redis-server")
	if err != nil {
		o.Fatalf("%v; it is in the Debian package redis-server", err)
	}
	r := &Redis{Port: freePort(o)}
	argv := append([]string{server}, arguments...)
	argv = append(argv, "--port", strconv.Itoa(r.Port), "--bind", "127.0.0.1")
	r.Process = newProcess(o, fmt.Sprintf("redis-server %d", r.Port), nil, argv...)
	return r
}

// Start starts the server and waits until it answers.
func (r *Redis) Start() {
	r.owner.Helper()
	r.Process.Start()
	r.awaitReady(func() bool { return r.command("PING") == "+PONG" })
}

// Address is the host and port.
func (r *Redis) Address() string { return fmt.Sprintf("127.0.0.1:%d", r.Port) }

// command sends commands and returns the answer to the last: the first line
// of a bulk string, the first line of anything else as it came, "" if there is
// none.
func (r *Redis) command(commands ...string) (answer string) {
	connection, err := net.DialTimeout("tcp", r.Address(), time.Second)
	if err != nil {
		return ""
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(2 * time.Second))
	reader := bufio.NewReader(connection)
	for _, command := range commands {
		_, _ = fmt.Fprintf(connection, "%s\r\n", command)
		answer, _ = reader.ReadString('\n')
		if strings.HasPrefix(answer, "$") {
			answer, _ = reader.ReadString('\n')
		}
	}
	return strings.TrimSpace(answer)
}

// hasReplica empties the server and reports whether a replica has heard of it.
// Only a write tells: a new replica counts as there up to a second before it
// is sent any.
func (r *Redis) hasReplica() bool { return r.command("FLUSHALL", "WAIT 1 1000") == ":1" }
