package truelayer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/patrickmn/go-cache"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

const (
	// flightTimeout bounds a flight, the wait for its turn included.
	flightTimeout = 20 * time.Second
	// maxFlights bounds the flights under way to one auth server.
	maxFlights = 64
	// landedLifetime is how long a flight's result is kept for a browser that
	// repeats the request because the answer did not reach it.
	landedLifetime = time.Minute
)

// authServers holds one authServer for each address, shared by the handlers
// of the process and kept over reloads of the configuration.
var authServers = caddy.NewUsagePool()

// authServer is an auth server with the flights to it: pieces of work that
// must not be repeated and that go on when the visitor's connection is lost.
type authServer struct {
	*authserver.Server
	flights singleflight.Group
	landed  *cache.Cache
	slots   *semaphore.Weighted
}

func loadAuthServer(base string) (*authServer, error) {
	value, _, err := authServers.LoadOrNew(base, func() (caddy.Destructor, error) {
		return &authServer{
			Server: authserver.NewServer(base),
			landed: cache.New(landedLifetime, 0),
			slots:  semaphore.NewWeighted(maxFlights),
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*authServer), nil
}

func unloadAuthServer(base string) error {
	_, err := authServers.Delete(base)
	return err
}

// Destruct waits for the flights under way, bounded by their own timeout: a
// code that was sent must not be lost because Caddy stops.
func (a *authServer) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), flightTimeout)
	defer cancel()
	if a.slots.Acquire(ctx, maxFlights) == nil {
		a.slots.Release(maxFlights)
	}
	a.CloseIdleConnections()
	return nil
}

var errBusy = errors.New("too many logins are waiting for the auth server")

// fly runs work once for the key, however many callers come while it runs or
// shortly after it succeeded; all get its result. The work is detached from
// the callers. A caller whose ctx ends leaves, with the error of ctx.
func (a *authServer) fly(ctx context.Context, key string, work func(context.Context) (any, error)) (any, error) {
	if result, ok := a.landed.Get(key); ok {
		return result, nil
	}
	done := a.flights.DoChan(key, func() (result any, err error) {
		if result, ok := a.landed.Get(key); ok {
			return result, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), flightTimeout)
		defer cancel()
		if a.slots.Acquire(ctx, 1) != nil {
			return nil, errBusy
		}
		defer a.slots.Release(1)
		defer func() {
			// singleflight would let a panic end the process
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		if result, err = work(ctx); err == nil {
			a.landed.DeleteExpired()
			a.landed.SetDefault(key, result)
		}
		return result, err
	})
	select {
	case result := <-done:
		return result.Val, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
