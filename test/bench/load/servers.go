package main

import (
	"encoding/json"
	"fmt"

	"github.com/caddy-truelayer/caddy-truelayer/test/bench"
	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// freeAddress is one at which nothing listens yet.
func (m *measurement) freeAddress() string {
	port, err := loopback.Port()
	m.check(err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// startApplication starts the application, on one processor.
func (m *measurement) startApplication() *process {
	address := m.freeAddress()
	return m.start(roleApplication, 1, address, address)
}

// startBare starts a Caddy without the module, which sends the application a
// fixed token.
func (m *measurement) startBare(procs int, application, token string) *process {
	return m.startCaddy(procs, fmt.Sprintf(`[{"handler": "reverse_proxy", "upstreams": [{"dial": %q}],
		"headers": {"request": {"set": {"Authorization": [%q]}}}}]`, application, token))
}

// startOurs starts a Caddy with the module.
func (m *measurement) startOurs(procs int, application string, provider *bench.Provider, store json.RawMessage) *process {
	var handler map[string]any
	m.check(json.Unmarshal(bench.HandlerConfig(provider.URL, store, ""), &handler))
	handler["handler"] = "truelayer"
	text, err := json.Marshal(handler)
	m.check(err)
	return m.startCaddy(procs, fmt.Sprintf(`[%s, {"handler": "reverse_proxy", "upstreams": [{"dial": %q}]}]`, text, application))
}

// startCaddy starts a Caddy whose one site has the handlers.
func (m *measurement) startCaddy(procs int, handlers string) *process {
	address := m.freeAddress()
	return m.start(roleCaddy, procs, address, fmt.Sprintf(`{
		"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"level": "ERROR"}}},
		"storage": {"module": "file_system", "root": %q},
		"apps": {"http": {"servers": {"bench": {
			"listen": [%q], "protocols": ["h1"], "automatic_https": {"disable": true},
			"routes": [{"handle": %s}]
		}}}}
	}`, m.TempDir(), address, handlers))
}

// startProvider starts a simulated TrueLayer, in the process of the load.
func (m *measurement) startProvider() *bench.Provider {
	provider, err := bench.StartProvider()
	m.check(err)
	m.Cleanup(provider.Close)
	return provider
}

// The stores that are measured, by the type in their configuration.
const (
	storeMemory  = "memory"
	storeStorage = "storage"
	storeRedis   = "redis"
)

// startStore starts what a store keeps its records in, and returns the store's
// configuration and its Redis, if it has one. The memory store has room for so
// many records.
func (m *measurement) startStore(kind string, records int) (json.RawMessage, *redis) {
	switch kind {
	case storeStorage:
		return json.RawMessage(fmt.Sprintf(`{"type": "storage", "storage": {"module": "file_system", "root": %q}}`, m.TempDir())), nil
	case storeRedis:
		r := m.startRedis()
		return json.RawMessage(fmt.Sprintf(`{"type": "redis", "address": [%q]}`, r.Address)), r
	default:
		return bench.MemoryStore(records), nil
	}
}

// redis is a Redis server of a part's own.
type redis struct {
	*redisserver.Server
	pid int
}

// startRedis starts a Redis. It never rewrites its append-only file, which
// would begin in the middle of a round.
func (m *measurement) startRedis() *redis {
	var arguments []string
	if m.aof {
		arguments = []string{"--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"}
	}
	server := redisserver.Start(m, arguments...)
	return &redis{server, int(m.number(server.Stats("server")["process_id"]))}
}
