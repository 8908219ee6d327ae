package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-truelayer/caddy-truelayer"
	_ "github.com/caddy-truelayer/caddy-truelayer/redisstore"
	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// caddyRole is what a role with a Caddy is told.
type caddyRole struct {
	Upstream string
	// Token is what caddy-bare sends as Authorization.
	Token string
	// AuthServer is caddy-truelayer's provider. Without one it has its own in
	// the same process, for as long as it is being filled.
	AuthServer string
	// Store is the configuration of caddy-truelayer's store.
	Store json.RawMessage
}

func playBare(config []byte, _ *http.ServeMux) (address string, stop func(), err error) {
	var role caddyRole
	if err := json.Unmarshal(config, &role); err != nil {
		return "", nil, err
	}
	proxy := fmt.Sprintf(`{"handler": "reverse_proxy", "upstreams": [{"dial": %q}],
		"headers": {"request": {"set": {"Authorization": [%q]}}}}`, role.Upstream, role.Token)
	return startCaddy("[" + proxy + "]")
}

func playTruelayer(config []byte, control *http.ServeMux) (address string, stop func(), err error) {
	var role caddyRole
	if err := json.Unmarshal(config, &role); err != nil {
		return "", nil, err
	}
	provider := &bench.Provider{URL: role.AuthServer}
	if role.AuthServer == "" {
		if provider, err = bench.StartProvider(); err != nil {
			return "", nil, err
		}
		control.HandleFunc("/fill", func(w http.ResponseWriter, r *http.Request) {
			serveFill(w, r, provider)
		})
	}
	var handler map[string]any
	if err := json.Unmarshal(bench.HandlerConfig(provider.URL, role.Store, ""), &handler); err != nil {
		return "", nil, err
	}
	handler["handler"] = "truelayer"
	text, err := json.Marshal(handler)
	if err != nil {
		return "", nil, err
	}
	return startCaddy(fmt.Sprintf(`[%s, {"handler": "reverse_proxy", "upstreams": [{"dial": %q}]}]`, text, role.Upstream))
}

// startCaddy runs a Caddy in this process whose one site has the handlers.
func startCaddy(handlers string) (address string, stop func(), err error) {
	data, err := os.MkdirTemp("", "truelayer-bench-")
	if err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = caddy.Stop()
		_ = os.RemoveAll(data)
	}
	if address, err = freeAddress(); err == nil {
		err = loadCaddy(data, address, handlers)
	}
	if err != nil {
		stop()
		return "", nil, err
	}
	return address, stop, nil
}

func loadCaddy(data, address, handlers string) error {
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		if err := os.Setenv(name, data); err != nil {
			return err
		}
	}
	config := fmt.Sprintf(`{
		"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"level": "ERROR"}}},
		"storage": {"module": "file_system", "root": %q},
		"apps": {"http": {"servers": {"bench": {
			"listen": [%q], "protocols": ["h1"], "automatic_https": {"disable": true},
			"routes": [{"handle": %s}]
		}}}}
	}`, data, address, handlers)
	return caddy.Load([]byte(config), true)
}

// freeAddress is a port that nobody listens on: Caddy and Redis open theirs
// themselves.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// serveFill logs visitors in and answers with their cookies, one a line. The
// logins are real ones, only that nothing but the token request goes over the
// network. The provider then ends, so that its memory is not taken for ours.
func serveFill(w http.ResponseWriter, r *http.Request, provider *bench.Provider) {
	sessions, err := strconv.Atoi(r.FormValue("sessions"))
	if err == nil {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU()))
		err = fill(w, sessions, provider)
	}
	provider.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err) // the answer may be under way already
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func fill(w http.ResponseWriter, sessions int, provider *bench.Provider) error {
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		return err
	}
	site := bench.InProcess(app.(*caddyhttp.App).Servers["bench"])
	var (
		begun   atomic.Int64
		workers sync.WaitGroup
		mu      sync.Mutex // guards what follows
		out     = bufio.NewWriter(w)
		failed  error
	)
	for range 4 * runtime.NumCPU() {
		workers.Go(func() {
			for begun.Add(1) <= int64(sessions) {
				cookie, err := bench.Login(site, provider.Grant)
				mu.Lock()
				failed = errors.Join(failed, err)
				fmt.Fprintln(out, cookie)
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	workers.Wait()
	return errors.Join(failed, out.Flush())
}
