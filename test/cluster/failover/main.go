// Command failover shows what visitors notice when the primary of a replicated
// Redis dies under traffic: two Caddys with the module, and
//
//	go run ./failover sentinel	a primary, its replica and three Sentinels
//	go run ./failover cluster	a Redis Cluster: three primaries, a replica each
//
// It is run in the directory test/cluster, needs Debian's packages redis-server
// and redis-tools, takes about half a minute, uses loopback addresses only and
// ends what it started.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/cluster"
)

const atMost = 3 * time.Minute

func main() {
	start, ok := map[string]func(cluster.Owner) cluster.Topology{
		"sentinel": cluster.StartSentinel,
		"cluster":  cluster.StartRedisCluster,
	}[append(os.Args, "")[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: go run ./failover sentinel|cluster")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, atMost)
	c := &command{ctx: ctx}
	done := make(chan struct{})
	go func() { // Fatalf ends a goroutine
		defer close(done)
		defer c.cleanUp()
		(&failover{Owner: c}).run(start)
	}()
	<-done
	cancel()
	stop()
	if c.failed {
		os.Exit(1)
	}
}

// command is a cluster.Owner that is no test.
type command struct {
	ctx      context.Context
	cleanups []func()
	failed   bool
}

func (c *command) Helper()                  {}
func (c *command) Context() context.Context { return c.ctx }
func (c *command) Cleanup(f func())         { c.cleanups = append(c.cleanups, f) }
func (c *command) Failed() bool             { return c.failed }

func (c *command) Logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func (c *command) Fatalf(format string, args ...any) {
	c.Logf("failover: "+format, args...)
	c.failed = true
	runtime.Goexit()
}

func (c *command) TempDir() string {
	directory, err := os.MkdirTemp("", "truelayer-failover-")
	if err != nil {
		c.Fatalf("%v", err)
	}
	c.Cleanup(func() { _ = os.RemoveAll(directory) })
	return directory
}

func (c *command) cleanUp() {
	for _, f := range slices.Backward(c.cleanups) {
		f()
	}
}
