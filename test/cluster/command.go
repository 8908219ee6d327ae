package cluster

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// RunCommand calls f with an Owner that is no test but a command of that name. It ends what
// belongs to the Owner when f returns, after atMost, or when the command is interrupted.
// It reports whether f went well.
func RunCommand(name string, atMost time.Duration, f func(Owner)) (ok bool) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	c := &command{name: name, ctx: ctx}
	done := make(chan struct{})
	go func() { // Fatalf ends a goroutine
		defer close(done)
		defer c.cleanUp()
		f(c)
	}()
	<-done
	return !c.failed
}

// command is the Owner of RunCommand.
type command struct {
	name     string
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
	c.Logf(c.name+": "+format, args...)
	c.failed = true
	runtime.Goexit()
}

func (c *command) TempDir() string {
	directory, err := os.MkdirTemp("", "truelayer-"+c.name+"-")
	if err != nil {
		c.Fatalf("%v", err)
	}
	c.Cleanup(func() { _ = os.RemoveAll(directory) })
	return directory
}

// cleanUp calls the functions of Cleanup, the last one first, also those after one that calls
// Fatalf.
func (c *command) cleanUp() {
	if n := len(c.cleanups); n > 0 {
		last := c.cleanups[n-1]
		c.cleanups = c.cleanups[:n-1]
		defer c.cleanUp()
		last()
	}
}
