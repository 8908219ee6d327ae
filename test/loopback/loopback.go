// Package loopback has ports and servers on this machine, for tests.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

var (
	mu    sync.Mutex
	given = make(map[int]bool)
)

// Port returns a port at which nothing listens, and which it has not returned
// before. It is below the ones that systems take for the near ends of
// connections: one of these could be gone before it is listened at, or when a
// process that was killed comes back to it.
func Port() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000) //nolint:gosec // random, not secret
		if given[port] {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			given[port] = true
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// Serve returns the address of a server of connections, for what no ordinary
// server says. It deals with each in a goroutine of its own and then closes it,
// and ends with the test.
func Serve(t testing.TB, deal func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				deal(conn)
			}()
		}
	}()
	return l.Addr().String()
}
