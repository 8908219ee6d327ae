package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// loginWith is the processor time that a login costs Caddy: the redirect to
// the bank, the callback with the token request, and the session.
func loginWith(store string) measurement {
	return func(ctx context.Context, o *options, t *table) error {
		provider, err := start(ctx, roleProvider, 1, nil)
		if err != nil {
			return err
		}
		defer provider.stop()
		b, err := openBacking(ctx, o, store, 4*o.logins+1000)
		if err != nil {
			return err
		}
		defer b.stop()
		role := caddyRole{AuthServer: provider.Address, Upstream: "127.0.0.1:1", Store: b.store}
		p, err := start(ctx, roleTruelayer, o.procs, role)
		if err != nil {
			return err
		}
		defer p.stop()
		if _, err := logIn(ctx, p, provider, 200); err != nil { // what only the first ones cost
			return err
		}
		site := &contender{process: p, redis: b.redis}
		before, err := site.usage()
		if err != nil {
			return err
		}
		began := time.Now()
		if _, err := logIn(ctx, p, provider, o.logins); err != nil {
			return err
		}
		spent := time.Since(began)
		after, err := site.usage()
		if err != nil {
			return err
		}
		t.addLogin(store, o.logins, spent, after.minus(before))
		return nil
	}
}

// addLogin adds the row of logins that took so long together.
func (t *table) addLogin(store string, logins int, spent time.Duration, used usage) {
	what := "CPU per login" + with(store) + ", the provider's not counted"
	each := used.cpu / time.Duration(logins)
	perSecond := float64(logins) / spent.Seconds()
	switch store {
	case storeMemory:
		t.add(what, "at most 0.5 ms", fmt.Sprintf("%.2f ms (at %.0f logins per second)", each.Seconds()*1000, perSecond),
			each <= 500*time.Microsecond)
	case storeRedis:
		t.note(what, fmt.Sprintf("%.2f ms, and %.3f ms of Redis (at %.0f logins per second)",
			each.Seconds()*1000, used.redis.Seconds()*1000/float64(logins), perSecond))
	default:
		t.note(what, fmt.Sprintf("%.2f ms (at %.0f logins per second)", each.Seconds()*1000, perSecond))
	}
}

// logIn signs visitors in over the network, a few at a time, and returns their
// cookies.
func logIn(ctx context.Context, site, provider *process, logins int) (cookies []string, err error) {
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
		begun  atomic.Int64
		errs   [visitors]error
		signed [visitors][]string
		all    sync.WaitGroup
	)
	for i := range visitors {
		all.Go(func() {
			for errs[i] == nil && begun.Add(1) <= int64(logins) {
				var cookie string
				cookie, errs[i] = bench.Login(visit, grant)
				signed[i] = append(signed[i], cookie)
			}
		})
	}
	all.Wait()
	return slices.Concat(signed[:]...), errors.Join(errs[:]...)
}
