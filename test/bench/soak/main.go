// Command soak uses a running Caddy with the module for a long time under
// trouble: access tokens of five seconds, refresh tokens that are replaced at
// each use, a token endpoint that fails one request in five, and a reload of
// the configuration every twenty seconds. It prints what came of it.
//
//	go run ./test/bench/soak
//
// It ends by itself, uses loopback addresses only, and fails if a dead token
// went upstream or a session was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

const (
	clientID, clientSecret = "sandbox-soak", "soak-client-secret" //nolint:gosec // made up
	tokenLifetime          = 5 * time.Second
)

func main() {
	sessions := flag.Int("sessions", 200, "how many visitors are signed in")
	duration := flag.Duration("duration", 10*time.Minute, "how long it takes; the first fifth is without faults")
	reload := flag.Duration("reload", 20*time.Second, "how often the configuration is reloaded")
	faults := flag.Float64("faults", 0.2, "how many of the token requests fail")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *sessions, *duration, *reload, *faults); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// world is everything that the soak runs, in one process.
type world struct {
	sim      *simulator.Simulator
	upstream upstream
	site     string // http://localhost:<port>
	data     string

	simURL, appAddress string
	reloads            int
}

func run(ctx context.Context, sessions int, duration, reload time.Duration, faults float64) error {
	w, stop, err := start()
	if err != nil {
		return err
	}
	defer stop()
	visitors, err := w.signIn(sessions)
	if err != nil {
		return err
	}
	if err := w.phase(ctx, "without faults", visitors, duration/5, reload, 0); err != nil {
		return err
	}
	if err := w.phase(ctx, "with faults", visitors, duration-duration/5, reload, faults); err != nil {
		return err
	}
	return w.verdict(visitors)
}

// phase lets the visitors use the site for a while and reports.
func (w *world) phase(ctx context.Context, name string, visitors []*visitor, duration, reload time.Duration, faults float64) error {
	w.upstream.reset()
	before := w.sim.CallsGrant("refresh_token")
	using, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var wg sync.WaitGroup
	for _, v := range visitors {
		wg.Go(func() { v.use(using, w.site) })
	}
	reloads, kinds := time.NewTicker(reload), time.NewTicker(max(duration/20, time.Second))
	defer reloads.Stop()
	defer kinds.Stop()
	for kind := 0; using.Err() == nil; {
		select {
		case <-reloads.C:
			if err := w.reload(); err != nil {
				return err
			}
		case <-kinds.C:
			if faults > 0 {
				faultsBegin(w.sim, faults, kind)
				kind++
			}
		case <-using.Done():
		}
	}
	wg.Wait()
	w.sim.ClearFaults()
	// what was refreshed behind the last requests is seen by one more of each
	time.Sleep(50 * time.Millisecond)
	refreshes := w.sim.CallsGrant("refresh_token") - before
	for _, v := range visitors {
		v.open(ctx, w.site)
	}
	fmt.Println(w.report(visitors, name, refreshes))
	return ctx.Err()
}

// faultsBegin changes the kind of the faults. All of them strike before the
// token endpoint acts: an answer that is lost after a refresh token was
// replaced is the one thing that nobody can mend.
func faultsBegin(sim *simulator.Simulator, rate float64, kind int) {
	kinds := []simulator.Fault{
		{Status: http.StatusServiceUnavailable},
		{DropBefore: true},
		{Status: http.StatusTooManyRequests},
		{Status: http.StatusBadGateway, ContentType: "text/html", Body: "<h1>Bad gateway</h1>"},
		{Delay: 300 * time.Millisecond},
	}
	fault := kinds[kind%len(kinds)]
	fault.Rate = rate
	sim.ClearFaults()
	sim.Fail(simulator.Token, fault)
}

func start() (*world, func(), error) {
	data, err := os.MkdirTemp("", "truelayer-soak-")
	if err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		if err := os.Setenv(name, data); err != nil {
			return nil, nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	w := &world{site: fmt.Sprintf("http://localhost:%d", port), data: data}
	w.sim, err = simulator.New(simulator.Config{Clients: []simulator.Client{{
		ID: clientID, Secret: clientSecret, RedirectURIs: []string{w.site + "/truelayer"},
	}}})
	if err != nil {
		return nil, nil, err
	}
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime, s.Rotate = tokenLifetime, true })
	simAddress, stopSim, err := serve(w.sim)
	if err != nil {
		return nil, nil, err
	}
	appAddress, stopApp, err := serve(&w.upstream)
	if err != nil {
		return nil, nil, err
	}
	w.simURL, w.appAddress = "http://"+simAddress, appAddress
	stop := func() {
		_ = caddy.Stop()
		stopSim()
		stopApp()
		_ = os.RemoveAll(data)
	}
	if err := w.reload(); err != nil {
		stop()
		return nil, nil, err
	}
	return w, stop, nil
}

// reload loads a configuration that differs from the one before.
func (w *world) reload() error {
	w.reloads++
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	grace_period 30s
	storage file_system %q
	log {
		level PANIC
	}
}
%s {
	truelayer {
		client_id %s
		client_secret %s
		redirect_uri %s/truelayer
		auth_server %s
		scopes verification offline_access
		idle_timeout %dm
	}
	reverse_proxy %s
}
`, w.data, w.site, clientID, clientSecret, w.site, w.simURL, 60+w.reloads, w.appAddress)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func (w *world) signIn(n int) ([]*visitor, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	site := func(r *http.Request) (*http.Response, error) {
		r.URL.Scheme, r.URL.Host, r.Host, r.RequestURI = "http", w.site[len("http://"):], "", ""
		return transport.RoundTrip(r)
	}
	visitors := make([]*visitor, n)
	for i := range visitors {
		cookie, err := bench.Login(site, w.sim.Grant)
		if err != nil {
			return nil, fmt.Errorf("signing visitor %d in: %w", i, err)
		}
		visitors[i] = &visitor{cookie: cookie, transport: transport}
	}
	return visitors, nil
}

func serve(handler http.Handler) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), func() { _ = server.Close() }, nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

var errSoak = errors.New("a dead token went upstream, or a session was lost; see above")
