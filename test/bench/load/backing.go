package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
)

// The stores that are measured, by the type in their configuration.
const (
	storeMemory  = "memory"
	storeStorage = "storage"
	storeRedis   = "redis"
)

// backing is what a store keeps its records in.
type backing struct {
	// store is the configuration of a store that is backed by it.
	store json.RawMessage
	// redis is the server, if it is one.
	redis *process

	process *process
}

// openBacking starts what a store of that type needs; records bounds it if it
// needs nothing but memory.
func openBacking(ctx context.Context, o *options, store string, records int) (*backing, error) {
	switch store {
	case storeStorage:
		files, err := start(ctx, roleFiles, 1, nil)
		if err != nil {
			return nil, err
		}
		return &backing{store: storageStore(files.Address, ""), process: files}, nil
	case storeRedis:
		redis, err := startRedis(ctx, o.aof)
		if err != nil {
			return nil, err
		}
		config := fmt.Sprintf(`{"type": "redis", "address": [%q]}`, redis.Address)
		return &backing{store: json.RawMessage(config), redis: redis, process: redis}, nil
	default:
		return &backing{store: bench.MemoryStore(records)}, nil
	}
}

// storageStore is the configuration of a storage store with files in a
// directory. It remembers what it read for cacheTTL, or for its default.
func storageStore(directory, cacheTTL string) json.RawMessage {
	config := fmt.Sprintf(`{"type": "storage", "storage": {"module": "file_system", "root": %q}`, directory)
	if cacheTTL != "" {
		config += fmt.Sprintf(`, "cache_ttl": %q`, cacheTTL)
	}
	return json.RawMessage(config + "}")
}

func (b *backing) stop() {
	if b.process != nil {
		b.process.stop()
	}
}

// playFiles keeps a directory for others.
func playFiles([]byte, *http.ServeMux) (address string, stop func(), err error) {
	directory, err := os.MkdirTemp("", "truelayer-bench-")
	if err != nil {
		return "", nil, err
	}
	return directory, func() { _ = os.RemoveAll(directory) }, nil
}

// with names a store in a row of the table; the memory store, which is the
// default, goes without saying.
func with(store string) string {
	if store == storeMemory {
		return ""
	}
	return " with store " + store
}
