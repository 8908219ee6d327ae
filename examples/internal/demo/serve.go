package demo

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// trueLayer is the simulation, or else TrueLayer's sandbox.
type trueLayer struct {
	authServer, api string
	stop            func()
}

// startTrueLayer uses the sandbox with the client in the environment. If there is
// none, it starts the simulation and puts a client into the environment.
func (e *Example) startTrueLayer(port int, site string, out io.Writer) (*trueLayer, error) {
	redirectURI := site + "/truelayer"
	if os.Getenv("TRUELAYER_CLIENT_ID") != "" && os.Getenv("TRUELAYER_CLIENT_SECRET") != "" {
		fmt.Fprintf(out, "using TrueLayer's sandbox; register the redirect URI %s in TrueLayer's Console\n", redirectURI)
		return &trueLayer{"https://auth.truelayer-sandbox.com", "https://api.truelayer-sandbox.com", func() {}}, nil
	}
	id, secret := "sandbox-"+e.Name, e.Name+"-secret"
	s, err := simulator.New(simulator.Config{Clients: []simulator.Client{{
		ID: id, Secret: secret, Name: e.Site, RedirectURIs: []string{redirectURI},
	}}})
	if err != nil {
		return nil, err
	}
	// for a browser 127.0.0.1 is another site than localhost, as the real one is
	address, stop, err := serve(port, s)
	if err != nil {
		return nil, fmt.Errorf("starting the simulation: %w; choose another port with -simulator-port", err)
	}
	base := "http://" + address
	fmt.Fprintln(out, "started a simulation of TrueLayer at", base)
	return &trueLayer{base, base, stop}, errors.Join(
		os.Setenv("TRUELAYER_CLIENT_ID", id), os.Setenv("TRUELAYER_CLIENT_SECRET", secret))
}

// startCaddy runs Caddy in this process.
func (e *Example) startCaddy(environment map[string]string) error {
	maps.Copy(environment, e.Environment)
	for name, value := range environment {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(e.Caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
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

// checkFree returns an error if the site's port is in use. Caddy would share it
// with another Caddy without a word, and visitors would reach either of them.
func checkFree(port int) error {
	listener, err := listen(port)
	if err != nil {
		return fmt.Errorf("checking the site's port: %w; stop the program that uses it, perhaps another example, or choose another port with -port", err)
	}
	return listener.Close()
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
}
