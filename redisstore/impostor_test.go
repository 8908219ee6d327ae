package redisstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// hello is a primary's answer to HELLO.
func hello(version string) string {
	return fmt.Sprintf("%%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$%d\r\n%s\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n",
		len(version), version)
}

// expired is what Redis 6 sends for a key that it finds expired while it
// answers EXEC: the array ends with PTTL's answer, and GET's comes behind it.
const expired = "*2\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n:-2\r\n_\r\n"

// lies are an impostor's answers, with COMMAND where they repeat it.
type lies struct {
	hello string // to HELLO
	get   string // to GET
	exec  string // to the EXEC that it is in; "" is the same
	other string // to everything else; "" is what Redis says
}

// impostor answers in a Redis's place, until it lets it answer itself.
type impostor struct {
	lies

	address     string
	redis       *redisserver.Server
	honest      atomic.Bool
	connections atomic.Int32
}

func startImpostor(t *testing.T, l lies, redis *redisserver.Server) *impostor {
	t.Helper()
	i := &impostor{lies: l, redis: redis}
	i.address = loopback.Serve(t, func(conn net.Conn) {
		i.connections.Add(1)
		if i.honest.Load() {
			loopback.Forward(conn, i.redis.Address)
		} else {
			i.lie(conn)
		}
	})
	return i
}

func (i *impostor) lie(conn net.Conn) {
	reader := bufio.NewReader(conn)
	line := func() string {
		text, _ := reader.ReadString('\n')
		return strings.TrimSpace(text)
	}
	inMulti := false
	for !i.honest.Load() {
		count, err := strconv.Atoi(strings.TrimPrefix(line(), "*"))
		if err != nil {
			return
		}
		words := make([]string, count)
		for n := range words {
			line() // its length
			words[n] = line()
		}
		answer := "+OK\r\n"
		switch command := words[0]; {
		case command == "HELLO":
			answer = i.hello
		case i.other != "":
			answer = i.other
		case command == "CLUSTER":
			host, port, _ := net.SplitHostPort(i.address)
			answer = fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%s\r\n", len(host), host, port)
		case command == "PING":
			answer = "+PONG\r\n"
		case command == "MULTI":
			inMulti = true
		case command == "EXEC" && i.exec != "":
			inMulti = false
			answer = i.exec
		case command == "EXEC", command == "GET" && !inMulti:
			inMulti = false
			answer = i.get
		case inMulti:
			answer = "+QUEUED\r\n"
		}
		if _, err := io.WriteString(conn, strings.ReplaceAll(answer, "COMMAND", strings.Join(words, " "))); err != nil {
			return
		}
	}
}

// TestImpostor: who answers in Redis's place is not believed that the session
// is gone, ends nothing but connections, and is forgotten when Redis is back.
func TestImpostor(t *testing.T) {
	redis := redisserver.Start(t)
	id := "id"
	if err := open(t, &Store{Address: []string{redis.Address}}).Create(t.Context(), id, []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	type mode uint8
	const (
		cached mode = 1 << iota
		uncached
		cluster
		single = cached | uncached
	)
	for name, c := range map[string]struct {
		lies  lies
		modes mode
	}{
		"a negative length":  {lies{get: "$-2\r\n"}, single | cluster},
		"a huge length":      {lies{get: "$9223372036854775000\r\n"}, single},
		"a huge count":       {lies{get: "*9223372036854775000\r\n"}, single},
		"a huge map":         {lies{get: "%4611686018427387904\r\n"}, single},
		"arrays in arrays":   {lies{get: strings.Repeat("*1\r\n", 1<<20)}, single},
		"a long line":        {lies{get: "+" + strings.Repeat("x", 8<<20)}, single},
		"answers too many":   {lies{get: strings.Repeat("-ERR no\r\n", 20)}, single},
		"a subscription":     {lies{get: ">3\r\n$9\r\nsubscribe\r\n+x\r\n:1\r\n"}, single},
		"a web server":       {lies{get: "HTTP/1.1 400 Bad Request\r\n\r\n"}, single},
		"a short array":      {lies{get: "*1\r\n:1\r\n"}, single},
		"an empty array":     {lies{get: "*0\r\n"}, single},
		"no address":         {lies{get: "-MOVED\r\n"}, cluster},
		"a huge hello":       {lies{hello: "$9223372036854775000\r\n"}, single | cluster},
		"a negative hello":   {lies{hello: "%-2\r\n"}, single},
		"hellos too many":    {lies{hello: strings.Repeat(hello("7.0.0"), 20)}, single},
		"a hello and more":   {lies{hello: hello("7.0.0") + ">2\r\n+subscribe\r\n+x\r\n"}, single},
		"a hello of strings": {lies{hello: "*1\r\n+x\r\n"}, single},
		"huge slots":         {lies{other: "*9223372036854775000\r\n"}, cluster},
	} {
		for in, kind := range map[string]mode{"cached": cached, "uncached": uncached, "cluster": cluster} {
			if c.modes&kind == 0 {
				continue
			}
			t.Run(name+"/"+in, func(t *testing.T) {
				if c.lies.hello == "" {
					c.lies.hello = hello("7.0.0")
				}
				i := startImpostor(t, c.lies, redis)
				timeout := 500 * time.Millisecond
				store := &Store{Address: []string{i.address}, Timeout: caddy.Duration(timeout), Cluster: kind == cluster}
				if kind != cached {
					store.CacheSize = new(0)
				}
				s := open(t, store)
				for range 3 {
					began := time.Now()
					if record, err := s.Get(t.Context(), id); err == nil || errors.Is(err, fs.ErrNotExist) {
						t.Errorf("got the record %q and error %v", record, err)
					}
					if took := time.Since(began); took > 20*timeout { // on a busy machine
						t.Errorf("it took %v", took)
					}
				}
				if kind == cluster {
					return // Redis is none
				}
				i.honest.Store(true)
				wantBack(t, s, id)
			})
		}
	}
}

// TestGoneWhileItIsRead: a record that goes, or is found expired, between the
// command that finds it and the one to keep it is gone, the connection is as
// good as before, and the process keeps nothing.
func TestGoneWhileItIsRead(t *testing.T) {
	for version, exec := range map[string]string{"7.0.0": "*2\r\n:-2\r\n_\r\n", "6.2.14": expired} {
		i := startImpostor(t, lies{hello: hello(version), get: "$6\r\nrecord\r\n", exec: exec}, nil)
		s := open(t, &Store{Address: []string{i.address}})
		kept := keeps(s)
		for range 2 { // the second one is that record's first again
			if record, err := s.Get(t.Context(), "id"); err != nil || string(record) != "record" {
				t.Errorf("Redis %s: %q, %v", version, record, err)
			}
			kept.want(t, 1)
		}
		if n := i.connections.Load(); n != 1 {
			t.Errorf("Redis %s: it took %d connections", version, n)
		}
	}
}

// TestErrorsOfTheServer: they may repeat what they are about, and the password
// is in the first command. Ours say what to do instead.
func TestErrorsOfTheServer(t *testing.T) {
	const username, password = "caddy-user", "s3cret-of-redis"
	for answer, want := range map[string]string{
		"-ERR unknown command `HELLO`, with args beginning with: COMMAND\r\n":    "older than Redis 6",
		"-ERR bad request: COMMAND\r\n":                                          "redis-cli",
		"-WRONGPASS invalid username-password pair: COMMAND\r\n":                 "the password is wrong",
		"-NOAUTH HELLO must be called with the client already authenticated\r\n": "option password",
		"-NOPERM User " + username + " has no permissions\r\n":                   "docs/scaling.md",
		"-" + password + "\r\n":                                                  "may repeat",
		"-COMMAND\r\n":                                                           "may repeat",
		"+COMMAND\r\n":                                                           "",
	} {
		for where, l := range map[string]lies{
			"HELLO":  {hello: answer},
			"CLIENT": {hello: hello("7.0.0"), other: strings.ReplaceAll(answer, "COMMAND", "HELLO 3 AUTH "+username+" "+password)},
			"GET":    {hello: hello("7.0.0"), get: strings.ReplaceAll(answer, "COMMAND", "HELLO 3 AUTH "+username+" "+password)},
		} {
			for _, cacheSize := range []int{0, defaultCacheSize} {
				i := startImpostor(t, l, nil)
				core, logs := observer.New(zapcore.DebugLevel)
				s := open(t, &Store{Address: []string{i.address}, Username: username, Password: new(password), CacheSize: &cacheSize})
				s.logger = zap.New(core)
				said := ""
				for range serverOutageThreshold {
					_, err := s.Get(t.Context(), "id")
					said += fmt.Sprintf("%v %+v\n", err, err)
					_, _, err = s.List(t.Context(), "", 1)
					said += fmt.Sprintf("%v\n", err)
				}
				for _, entry := range logs.All() {
					said += fmt.Sprintf("%s %v\n", entry.Message, entry.ContextMap())
				}
				if strings.Contains(said, username) || strings.Contains(said, password) {
					t.Errorf("%q to %s, cache %d: %s", answer, where, cacheSize, said)
				}
				if where == "HELLO" && cacheSize > 0 && !strings.Contains(said, want) {
					t.Errorf("%q to %s: no remedy %q in %s", answer, where, want, said)
				}
			}
		}
	}
}
