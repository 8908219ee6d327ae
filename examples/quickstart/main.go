// Command quickstart is a complete demonstration on one machine. It needs no
// account anywhere. It runs a Caddy with this module, a simulation of TrueLayer,
// and a small application that knows nothing about banks.
//
//	go run ./examples/quickstart
//
// With -consent, visitors consent to what is shared on the site's own page.
//
// With TRUELAYER_CLIENT_ID and TRUELAYER_CLIENT_SECRET in the environment, it uses
// TrueLayer's sandbox instead of the simulation.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

//go:embed Caddyfile
var caddyfile []byte

const (
	sandboxAuthServer = "https://auth.truelayer-sandbox.com"
	sandboxAPI        = "https://api.truelayer-sandbox.com"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run starts everything, prints the site's address, and stops when ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	port := flags.Int("port", 8080, "the site's `port`")
	appPort := flags.Int("app-port", 8081, "the application's `port`; 0 chooses a free one")
	simulatorPort := flags.Int("simulator-port", 8082, "the simulation's `port`; 0 chooses a free one")
	ownConsent := flags.Bool("consent", false, "let visitors consent on the site's own page, not in TrueLayer's dialog")
	if err := flags.Parse(args); err != nil {
		return err
	}

	if err := checkFree(*port); err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "truelayer-quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)

	site := "http://localhost:" + strconv.Itoa(*port)
	authServer, api := sandboxAuthServer, sandboxAPI
	if os.Getenv("TRUELAYER_CLIENT_ID") == "" || os.Getenv("TRUELAYER_CLIENT_SECRET") == "" {
		var stop func()
		if authServer, stop, err = startSimulator(*simulatorPort, site+"/truelayer"); err != nil {
			return err
		}
		defer stop()
		api = authServer
		fmt.Fprintln(out, "started a simulation of TrueLayer at", authServer)
	} else {
		fmt.Fprintf(out, "using TrueLayer's sandbox; register the redirect URI %s/truelayer in TrueLayer's Console\n", site)
	}

	app, stop, err := serve(*appPort, newApplication(api))
	if err != nil {
		return fmt.Errorf("starting the application: %w; choose another port with -app-port", err)
	}
	defer stop()
	fmt.Fprintln(out, "started the application at http://"+app)

	consent := "consent-at-truelayer"
	if *ownConsent {
		consent = "consent-here"
	}
	fmt.Fprintln(out, "starting Caddy; Ctrl-C ends everything")
	if err := startCaddy(map[string]string{
		"QUICKSTART_PORT":        strconv.Itoa(*port),
		"QUICKSTART_APP":         app,
		"QUICKSTART_AUTH_SERVER": authServer,
		"QUICKSTART_API":         api,
		"QUICKSTART_DATA":        data,
		"QUICKSTART_CONSENT":     consent,
		"XDG_DATA_HOME":          data, // where Caddy would keep its own files
		"XDG_CONFIG_HOME":        data,
	}); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready:", site)
	<-ctx.Done()
	return caddy.Stop()
}

// checkFree returns an error if the site's port is in use. Caddy would share it
// with another Caddy without a word, and visitors would reach either of them.
func checkFree(port int) error {
	listener, err := listen(port)
	if err != nil {
		return fmt.Errorf("checking the site's port: %w; stop the program that uses it, perhaps another quickstart, or choose another port with -port", err)
	}
	return listener.Close()
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
}

// startSimulator serves the simulation on 127.0.0.1, so that for a browser it
// is another site than localhost, as the real one is.
func startSimulator(port int, redirectURI string) (base string, stop func(), err error) {
	const id, secret = "sandbox-quickstart", "quickstart-secret"
	s, err := simulator.New(simulator.Config{Clients: []simulator.Client{{
		ID: id, Secret: secret, Name: "Payroll 2004", RedirectURIs: []string{redirectURI},
	}}})
	if err != nil {
		return "", nil, err
	}
	address, stop, err := serve(port, s)
	if err != nil {
		return "", nil, fmt.Errorf("starting the simulation: %w; choose another port with -simulator-port", err)
	}
	return "http://" + address, stop, errors.Join(
		os.Setenv("TRUELAYER_CLIENT_ID", id), os.Setenv("TRUELAYER_CLIENT_SECRET", secret))
}

// serve serves a handler on a port of 127.0.0.1.
func serve(port int, handler http.Handler) (address string, stop func(), err error) {
	listener, err := listen(port)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), func() { _ = server.Close() }, nil
}

// startCaddy runs Caddy in this process, with the Caddyfile next to this file.
func startCaddy(environment map[string]string) error {
	for name, value := range environment {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}
