package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
)

// measurement is one part under way, with what it started. It is a testing.TB
// for what tests start their servers with: it has those of the methods that are
// used there.
type measurement struct {
	testing.TB // nil

	options
	table *table

	ctx      context.Context
	cleanups []func()
	failure  error
}

// measure runs a part and ends what it started.
func measure(ctx context.Context, o options, t *table, part func(*measurement)) error {
	m := &measurement{options: o, table: t, ctx: ctx}
	done := make(chan struct{})
	go func() { // a goroutine of its own, which Fatal ends
		defer close(done)
		defer func() {
			for _, clean := range slices.Backward(m.cleanups) {
				clean()
			}
		}()
		part(m)
	}()
	<-done
	return m.failure
}

func (m *measurement) Helper()                  {}
func (m *measurement) Context() context.Context { return m.ctx }
func (m *measurement) Cleanup(clean func())     { m.cleanups = append(m.cleanups, clean) }

// Fatal ends the part.
func (m *measurement) Fatal(args ...any) {
	m.failure = errors.New(fmt.Sprint(args...))
	runtime.Goexit()
}

// Fatalf is Fatal with a format.
func (m *measurement) Fatalf(format string, args ...any) { m.Fatal(fmt.Sprintf(format, args...)) }

// TempDir returns a new directory, which is removed in the end.
func (m *measurement) TempDir() string {
	directory, err := os.MkdirTemp("", "truelayer-bench-")
	m.check(err)
	m.Cleanup(func() { _ = os.RemoveAll(directory) })
	return directory
}

// check ends the part if there is an error.
func (m *measurement) check(err error) {
	if err != nil {
		m.Fatal(err)
	}
}
