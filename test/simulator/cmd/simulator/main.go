// Command simulator runs the TrueLayer simulator until Ctrl-C. For example:
//
//	simulator -redirect-uri http://localhost:8080/truelayer
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "simulator:", err)
		os.Exit(1)
	}
}

// run runs the simulator until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	client := simulator.Client{}
	flags := flag.NewFlagSet("simulator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8090", "`address` to listen on")
	flags.StringVar(&client.ID, "client-id", "sandbox-simulator", "the application's client_id")
	flags.StringVar(&client.Secret, "client-secret", "simulator-secret", "the application's client_secret; not a real one")
	flags.StringVar(&client.Name, "client-name", "Example application", "what the consent page calls the application")
	flags.Func("redirect-uri", "a redirect URI of the application; may be repeated (default http://localhost:8080/truelayer)", func(uri string) error {
		client.RedirectURIs = append(client.RedirectURIs, uri)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: give flags only", flags.Arg(0))
	}
	if len(client.RedirectURIs) == 0 {
		client.RedirectURIs = []string{"http://localhost:8080/truelayer"}
	}
	handler, err := simulator.New(simulator.Config{Clients: []simulator.Client{client}})
	if err != nil {
		return err
	}
	return serve(ctx, *listen, handler, stdout)
}

func serve(ctx context.Context, address string, handler http.Handler, stdout io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "ready: http://%s\n", listener.Addr())
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	// Requests in progress get a second to finish, even if a fault holds them.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return server.Close()
	}
	return nil
}
