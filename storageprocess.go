package truelayer

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

// storageProcesses holds what storage stores with equal settings share in this
// process, over reloads of the configuration.
var storageProcesses = caddy.NewUsagePool()

// storageProcess is a process's part of a storage store: what it remembers of
// the storage, and who of it is writing.
type storageProcess struct {
	cache   *readCache
	writers flight.Limiter[string]
}

func newStorageProcess(cacheTTL time.Duration) *storageProcess {
	return &storageProcess{cache: newReadCache(cacheTTL), writers: flight.Limiter[string]{MaxRunning: 1}}
}

// Destruct stops what runs by itself. Requests that outlive it are served.
func (p *storageProcess) Destruct() error {
	p.cache.close()
	return nil
}
