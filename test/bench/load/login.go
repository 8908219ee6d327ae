package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// playProvider is TrueLayer in a process of its own.
func playProvider(_ []byte, control *http.ServeMux) (address string, stop func(), err error) {
	provider, err := bench.StartProvider()
	if err != nil {
		return "", nil, err
	}
	control.HandleFunc("/grant", func(w http.ResponseWriter, r *http.Request) {
		callback, err := provider.Grant(r.FormValue("link"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(callback)
	})
	return provider.URL, provider.Close, nil
}

// measureLogin is the processor time that a login costs Caddy: the redirect to
// the bank, the callback with the token request, and the session.
func measureLogin(ctx context.Context, o *options, t *table) error {
	provider, err := start(ctx, roleProvider, 1, nil)
	if err != nil {
		return err
	}
	defer provider.stop()
	role := caddyRole{AuthServer: provider.Address, Upstream: "127.0.0.1:1", Records: 4*o.logins + 1000}
	site, err := start(ctx, roleTruelayer, o.procs, role)
	if err != nil {
		return err
	}
	defer site.stop()
	if err := logIn(ctx, site, provider, 200); err != nil { // what only the first ones cost
		return err
	}
	before, err := site.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := logIn(ctx, site, provider, o.logins); err != nil {
		return err
	}
	spent := time.Since(began)
	after, err := site.cpu()
	if err != nil {
		return err
	}
	each := (after - before) / time.Duration(o.logins)
	t.add("CPU per login, the provider's not counted", "at most 0.5 ms",
		fmt.Sprintf("%.2f ms (at %.0f logins per second)", each.Seconds()*1000, float64(o.logins)/spent.Seconds()),
		each <= 500*time.Microsecond)
	return nil
}

// logIn signs visitors in over the network, a few at a time.
func logIn(ctx context.Context, site, provider *process, logins int) error {
	const visitors = 8
	// Not a client: what a redirect does is the visitor's own business here.
	transport := &http.Transport{MaxIdleConnsPerHost: visitors}
	defer transport.CloseIdleConnections()
	visit := func(r *http.Request) (*http.Response, error) {
		r = r.WithContext(ctx)
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", site.Address
		return transport.RoundTrip(r)
	}
	grant := func(link string) (callback string, err error) {
		err = provider.ask(ctx, "/grant", url.Values{"link": {link}}, &callback)
		return callback, err
	}
	var (
		begun atomic.Int64
		errs  [visitors]error
		all   sync.WaitGroup
	)
	for i := range visitors {
		all.Go(func() {
			for errs[i] == nil && begun.Add(1) <= int64(logins) {
				_, errs[i] = bench.Login(visit, grant)
			}
		})
	}
	all.Wait()
	return errors.Join(errs[:]...)
}
