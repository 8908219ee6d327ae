// Package redisstore is a Caddy module that keeps the sessions of the
// truelayer handler in Redis or Valkey, for several Caddys behind a load
// balancer. Import it beside the handler's package, and use `store redis` in the
// Caddyfile.
package redisstore

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

func init() {
	caddy.RegisterModule(new(Store))
}

// Store keeps sessions in Redis 6 or newer, or in Valkey: a single server, a
// primary that Sentinels watch, or a cluster. Every Caddy that uses it has the
// same sessions.
//
// Each process caches the sessions that it reads, and the server tells it when
// one changes (client-side caching). Most requests need no round trip, and a
// logout takes effect everywhere within milliseconds. While the server does not
// answer, requests that need it get status 503, and nobody is signed out.
//
// If the server forgets a write that it has acknowledged, an ended session may
// come back or a refresh token may be lost. The settings that prevent this, such as
// `appendonly` and `maxmemory-policy noeviction`, are in
// [What Redis needs](https://github.com/caddy-truelayer/caddy-truelayer/blob/main/docs/scaling.md#what-redis-needs).
type Store struct {
	// Host and port of the server. With Sentinel or a cluster, the addresses of
	// several Sentinels or nodes. Required. Accepts global placeholders, which
	// are expanded when the configuration is loaded.
	Address []string `json:"address,omitempty"`

	// The user name, as in Redis's access control lists. Accepts global
	// placeholders. Default: `default`, as in Redis.
	Username string `json:"username,omitempty"`

	// The user's password. Accepts global placeholders. Write
	// `{env.REDIS_PASSWORD}` or `{file./path}`, since Caddy's admin endpoint
	// shows a literal password. Default: none.
	Password *string `json:"password,omitempty"` // a pointer, so that no formatter prints it

	// The number of the database. A cluster has only database 0. Default: 0.
	Database int `json:"database,omitempty"`

	// The prefix of every key, before a colon. It consists of letters, digits
	// and any of `-_.:`. Caddys that share sessions need the same prefix.
	// Default: `truelayer`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// Use TLS for connections to the server, and to Sentinels. Default: plain
	// TCP.
	TLS *TLS `json:"tls,omitempty"`

	// Ask Sentinels which server is the primary. The addresses are those of the
	// Sentinels. Default: none.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	// The addresses are nodes of a Redis Cluster. A few of them are enough, from
	// which the others are discovered.
	Cluster bool `json:"cluster,omitempty"`

	// How long to wait for an answer of the server before a visitor's request
	// fails with status 503, from 100ms to 1m. Default: 1s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The size of the cache in each process, in bytes. In a cluster it is the
	// size for each node. 0 turns the cache off, for a server that does not
	// support client-side caching: every request then needs a round trip.
	// Default: 128 MiB, about 50,000 sessions.
	CacheSize *int `json:"cache_size,omitempty"`

	server    *server
	serverKey string // in servers; "" if there is nothing to release
	logger    *zap.Logger
}

// TLS configures the connections to the server and to Sentinels.
type TLS struct {
	// A file with the certificate authorities to trust, in PEM. Default: those
	// of the system.
	CA string `json:"ca,omitempty"`

	// A file with the client's certificate, in PEM, for a server that asks for one.
	// Needs `key`. Default: none.
	Certificate string `json:"certificate,omitempty"`

	// A file with the key of the client's certificate, in PEM. Default: none.
	Key string `json:"key,omitempty"`

	// The name in the server's certificate. Default: the host of its address.
	ServerName string `json:"server_name,omitempty"`
}

// Sentinel configures how to find the primary through Sentinels.
type Sentinel struct {
	// The name under which the Sentinels know the primary and its replicas.
	// Required. In a Caddyfile it is the argument of `sentinel`.
	Master string `json:"master,omitempty"`

	// The user name for the Sentinels themselves. Accepts global placeholders.
	// Default: none.
	Username string `json:"username,omitempty"`

	// The password for the Sentinels themselves. Accepts global placeholders.
	// Default: none.
	Password *string `json:"password,omitempty"`
}

const (
	defaultKeyPrefix = "truelayer"
	defaultTimeout   = time.Second
	defaultCacheSize = 128 << 20
	minCacheSize     = 1 << 20
	maxCacheSize     = 1 << 40
)

// CaddyModule returns the Caddy module information.
func (*Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.redis",
		New: func() caddy.Module { return new(Store) },
	}
}

func checkAddresses(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("address is missing: set it to the server's host and port, for example redis.internal:6379")
	}
	for _, address := range addresses {
		if strings.ContainsRune(address, '{') {
			continue // a placeholder, checked when it is expanded
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" || strings.ContainsAny(host, "/ ") {
			return fmt.Errorf("address %q is not a host and a port such as redis.internal:6379", address)
		}
	}
	return nil
}

func checkKeyPrefix(prefix string) error {
	for i := range len(prefix) {
		c := prefix[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte("-_.:", c) < 0 {
			return fmt.Errorf("key_prefix %q has a character other than a letter, a digit or any of '-_.:'", prefix)
		}
	}
	return nil
}

func checkTimeout(timeout caddy.Duration) error {
	if t := time.Duration(timeout); t < 100*time.Millisecond || t > time.Minute {
		return fmt.Errorf("timeout %v is not between 100ms and 1m", t)
	}
	return nil
}

func checkCacheSize(size int) error {
	if size != 0 && size < minCacheSize {
		return fmt.Errorf("cache_size %d is neither 0 nor at least 1 MiB", size)
	}
	return nil
}

// Interface guards
var (
	_ truelayer.TokenStore  = (*Store)(nil)
	_ truelayer.Locker      = (*Store)(nil)
	_ truelayer.Lister      = (*Store)(nil)
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddy.CleanerUpper    = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
)
