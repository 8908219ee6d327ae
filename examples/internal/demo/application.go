package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Program is an application that runs as a process of its own.
type Program struct {
	// Command is the command line. In it $PORT is the port of 127.0.0.1 at which the
	// program has to listen, and $TMPDIR a directory that is removed at the end. Both
	// are in the program's environment, too.
	Command []string

	// Package is the Debian package that brings the interpreter.
	Package string
}

// application is what is behind Caddy.
type application struct {
	address string // "" if there is none
	stop    func()
	process *exec.Cmd       // nil if it is a part of this program
	ended   <-chan struct{} // closed when the process has ended
}

// startApplication writes the application's files and starts it, if there is one.
func (e *Example) startApplication(ctx context.Context, port int, api, data string) (app *application, err error) {
	if e.Files != nil {
		if err := os.CopyFS(filesIn(data), e.Files); err != nil {
			return nil, err
		}
	}
	app = &application{stop: func() {}}
	switch {
	case e.Program != nil:
		return e.Program.start(ctx, port, data)
	case e.Handler != nil:
		if app.address, app.stop, err = serve(port, e.Handler(api)); err != nil {
			err = otherPort(err)
		}
	}
	return app, err
}

// filesIn returns the folder of the application's files.
func filesIn(data string) string { return filepath.Join(data, "files") }

// start starts the program, and returns when it listens.
func (p *Program) start(ctx context.Context, port int, data string) (*application, error) {
	interpreter, err := exec.LookPath(p.Command[0])
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w; install it, on Debian with: apt install %s", p.Command[0], err, p.Package)
	}
	free, err := listen(port)
	if err != nil {
		return nil, otherPort(err)
	}
	address := free.Addr().String()
	temporary := filepath.Join(data, "tmp")
	if err := errors.Join(free.Close(), os.Mkdir(temporary, 0o700)); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, interpreter) //nolint:gosec // an interpreter that an example names
	cmd.Dir, cmd.Stdout, cmd.Stderr = filesIn(data), os.Stderr, os.Stderr
	p.configure(cmd, address, temporary)
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ProcessState says how it ended
		close(ended)
	}()
	app := &application{address, func() { cancel(); <-ended }, cmd, ended}
	if err := app.awaitListening(ctx); err != nil {
		app.stop()
		return nil, err
	}
	return app, nil
}

// configure sets the arguments and the environment, which is this process's without
// the client secret. The secret is Caddy's alone.
func (p *Program) configure(cmd *exec.Cmd, address, temporary string) {
	_, port, _ := net.SplitHostPort(address)
	own := map[string]string{"PORT": port, "TMPDIR": temporary}
	for _, argument := range p.Command[1:] {
		cmd.Args = append(cmd.Args, os.Expand(argument, func(name string) string { return own[name] }))
	}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "TRUELAYER_")
	})
	for name, value := range own {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
}

// awaitListening returns when the process accepts connections.
func (a *application) awaitListening(ctx context.Context) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ticker.C:
		case <-a.ended:
			return a.early()
		case <-ctx.Done():
			return fmt.Errorf("waiting until it listens at %s: %w", a.address, errors.Join(ctx.Err(), err))
		}
	}
}

// wait returns when ctx ends, or with an error when the application does.
func (a *application) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.ended:
	}
	select {
	case <-ctx.Done(): // Ctrl-C reaches both processes, in any order
		return nil
	case <-time.After(100 * time.Millisecond):
		return fmt.Errorf("running the application: %w", a.early())
	}
}

func (a *application) early() error {
	return fmt.Errorf("it ended by itself, with %s: see what it wrote above", a.process.ProcessState)
}

func otherPort(err error) error {
	return fmt.Errorf("%w; choose another port with -app-port", err)
}
