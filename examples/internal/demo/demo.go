// Package demo runs an example on one machine, without an account anywhere: a Caddy
// with the module in this process, a simulation of TrueLayer, and the application
// behind Caddy.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/caddyserver/caddy/v2"
)

// Example is what one example has of its own.
type Example struct {
	Name      string // of the command
	Site      string // the site's name on the pages of the simulation
	Users     string // what people have to know to sign in, if the example has users
	Caddyfile []byte

	// Handler makes the application, if it is a part of this program. The application
	// calls TrueLayer's API at the address.
	Handler func(api string) http.Handler

	// Program is the application, if it is a program of its own.
	Program *Program

	// Files are those of the application. Its program starts in their folder, and the
	// Caddyfile finds them at DEMO_FILES.
	Files fs.FS

	// Flags adds the example's own flags, if it has any.
	Flags func(*flag.FlagSet)

	// Environment is what the Caddyfile reads besides the variables that every
	// example has.
	Environment map[string]string
}

// Main runs the example until Ctrl-C.
func (e *Example) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := e.Run(ctx, os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", e.Name, err)
		os.Exit(1)
	}
}

// Run starts everything, prints the site's address, and stops when ctx ends.
func (e *Example) Run(ctx context.Context, args []string, out io.Writer) error {
	ports, err := e.parse(args)
	if err != nil {
		return err
	}
	if err := checkFree(ports.site); err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "truelayer-"+e.Name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)

	site := "http://localhost:" + strconv.Itoa(ports.site)
	service, err := e.startTrueLayer(ports.simulator, site, out)
	if err != nil {
		return err
	}
	defer service.stop()
	app, err := e.startApplication(ctx, ports.application, service.api, data)
	if err != nil {
		return fmt.Errorf("starting the application: %w", err)
	}
	defer app.stop()
	if app.address != "" {
		fmt.Fprintln(out, "started the application at http://"+app.address)
	}

	fmt.Fprintln(out, "starting Caddy; Ctrl-C ends everything")
	if err := e.startCaddy(map[string]string{
		"DEMO_PORT":        strconv.Itoa(ports.site),
		"DEMO_APP":         app.address,
		"DEMO_AUTH_SERVER": service.authServer,
		"DEMO_API":         service.api,
		"DEMO_DATA":        data,
		"DEMO_FILES":       filesIn(data),
		"XDG_DATA_HOME":    data, // where Caddy would keep its own files
		"XDG_CONFIG_HOME":  data,
	}); err != nil {
		return err
	}
	if e.Users != "" {
		fmt.Fprintln(out, "users:", e.Users)
	}
	fmt.Fprintln(out, "ready:", site)
	return errors.Join(app.wait(ctx), caddy.Stop())
}

// ports are those at which an example listens.
type ports struct {
	site, application, simulator int
}

func (e *Example) parse(args []string) (p ports, err error) {
	flags := flag.NewFlagSet(e.Name, flag.ContinueOnError)
	flags.IntVar(&p.site, "port", 8080, "the site's `port`")
	flags.IntVar(&p.simulator, "simulator-port", 8082, "the simulation's `port`; 0 chooses a free one")
	if e.HasApplication() {
		flags.IntVar(&p.application, "app-port", 8081, "the application's `port`; 0 chooses a free one")
	}
	if e.Flags != nil {
		e.Flags(flags)
	}
	return p, flags.Parse(args)
}

// HasApplication reports whether there is an application behind Caddy, and with it
// the flag -app-port.
func (e *Example) HasApplication() bool { return e.Handler != nil || e.Program != nil }
