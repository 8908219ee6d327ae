package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// The roles.
const (
	roleBare      = "caddy-bare"      // Caddy with reverse_proxy and a fixed token
	roleTruelayer = "caddy-truelayer" // Caddy with reverse_proxy and the module
	roleUpstream  = "upstream"        // the application behind both
	roleProvider  = "provider"        // TrueLayer
	roleSweep     = "sweep"           // a memory store and its reader
	roleStore     = "store"           // a store alone
	roleFiles     = "files"           // a directory that goes with it
	roleRedis     = "redis"           // a Redis server
)

// play plays a role until stdin ends: whoever started it is gone then.
func play(ctx context.Context, role string, config []byte) error {
	roles := map[string]func(config []byte, control *http.ServeMux) (address string, stop func(), err error){
		roleBare:      playBare,
		roleTruelayer: playTruelayer,
		roleUpstream:  playUpstream,
		roleProvider:  playProvider,
		roleSweep:     playSweep,
		roleStore:     playStore,
		roleFiles:     playFiles,
		roleRedis:     playRedis,
	}
	begin, ok := roles[role]
	if !ok {
		return fmt.Errorf("no role %q", role)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	control := http.NewServeMux()
	control.HandleFunc("/memory", serveMemory)
	control.HandleFunc("/profile", pprof.Profile)
	address, stop, err := begin(config, control)
	if err != nil {
		return err
	}
	defer stop()
	controlAddress, stopControl, err := listen(control)
	if err != nil {
		return err
	}
	defer stopControl()
	if err := json.NewEncoder(os.Stdout).Encode(process{Address: address, Control: controlAddress}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// listen serves a handler on a free port.
func listen(handler http.Handler) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), func() { _ = server.Close() }, nil
}

// memory is what a process occupies, in bytes, after everything that can be
// given back was.
type memory struct{ Heap, Resident int64 }

func serveMemory(w http.ResponseWriter, _ *http.Request) {
	// the first collection leaves what was in a sync.Pool to the second
	runtime.GC()
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m := memory{Heap: int64(stats.HeapAlloc)} //nolint:gosec // no machine has so much
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if kilobytes, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(kilobytes)[0], 10, 64)
			m.Resident = n << 10
		}
	}
	_ = json.NewEncoder(w).Encode(m)
}

// playUpstream is an application that answers at once, but only who brings a
// token: otherwise a mistake in the measurement could look like speed.
func playUpstream([]byte, *http.ServeMux) (address string, stop func(), err error) {
	body := []byte(strings.Repeat("All is well. ", 20))
	return listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		if !strings.HasPrefix(token, "Bearer eyJ") || strings.Contains(r.Header.Get("Cookie"), "truelayer") {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		if r.URL.Path == "/token" {
			fmt.Fprint(w, token) //nolint:gosec // what the test looks at
			return
		}
		_, _ = w.Write(body)
	}))
}
