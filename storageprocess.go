package truelayer

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

// storageProcessStates holds a storageProcessState for each set of settings. It
// keeps them across reloads of the configuration.
var storageProcessStates = caddy.NewUsagePool()

// storageProcessState is what the storage stores of this process share if their
// settings are equal: the cache, and the queue of writers for each key.
type storageProcessState struct {
	cache   *readCache
	writers flight.Limiter[string]
}

func newStorageProcessState(cacheTTL time.Duration) *storageProcessState {
	return &storageProcessState{cache: newReadCache(cacheTTL), writers: flight.Limiter[string]{MaxRunning: 1}}
}

// Destruct stops the goroutine of the cache. Requests that are still running
// can use the state.
func (p *storageProcessState) Destruct() error {
	p.cache.close()
	return nil
}
