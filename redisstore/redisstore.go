// Package redisstore is a Caddy module that keeps the sessions of the
// truelayer handler in Redis or Valkey, for several Caddys behind a balancer.
// Import it beside the handler's package; the directive is `store redis`.
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

// Store keeps sessions in Redis 6 or newer, or in Valkey: one server, one
// that Sentinel watches over, or a cluster. Every Caddy that uses it has the
// same sessions at once.
//
// What is read is kept in the process, and the server says when it changes
// (client-side caching), so most requests need no round trip and a logout
// nevertheless holds everywhere within milliseconds. While the server does not
// answer, requests that need it are answered with status 503 and nobody is
// signed out.
//
// A server that forgets what it has acknowledged brings a session that was
// ended back, or loses a refresh token: see the documentation for the settings
// that it needs (`appendonly`, `maxmemory-policy noeviction`).
type Store struct {
	// Host and port of the server, or of several: Sentinels or the nodes of a
	// cluster. Required. Accepts global placeholders, expanded when the
	// configuration is loaded.
	Address []string `json:"address,omitempty"`

	// The user of Redis's access control lists. Default: Redis's own,
	// `default`. Accepts global placeholders.
	Username string `json:"username,omitempty"`

	// Its password. Accepts global placeholders; write `{env.REDIS_PASSWORD}`
	// or `{file./path}`, since a literal one can be read in the configuration
	// that Caddy's admin endpoint shows. Default: none.
	Password *string `json:"password,omitempty"` // a pointer, so that no formatter prints it

	// The number of the database. A cluster has number 0 only. Default: 0.
	Database int `json:"database,omitempty"`

	// What every key begins with, before a colon: letters, digits, and any of
	// `-_.:`. Caddys that share sessions have the same. Default: `truelayer`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// Speak TLS to the server, and to Sentinels. Default: plain TCP.
	TLS *TLS `json:"tls,omitempty"`

	// Ask Sentinels, whose addresses are given then, which server is the
	// primary. Default: none.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	// The addresses are nodes of a Redis Cluster; some are enough, the others
	// are found.
	Cluster bool `json:"cluster,omitempty"`

	// How long the server has for an answer before a request goes without and
	// is told to come back, from 100ms to 1m. Default: 1s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many bytes of sessions each process keeps, for each node of a
	// cluster. 0 turns that off, for a server that cannot track what its clients
	// keep: every request is a round trip then. Default: 128 MiB, some 50,000
	// sessions.
	CacheSize *int `json:"cache_size,omitempty"`

	server    *server
	serverKey string // "" if Cleanup has nothing to give back
	logger    *zap.Logger
}

// TLS is how the server is spoken to.
type TLS struct {
	// A file with the certificates, in PEM, of the authorities that may have
	// signed the server's. Default: the system's.
	CA string `json:"ca,omitempty"`

	// Files with the client's certificate and its key, in PEM, for a server
	// that asks for one. Default: none.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`

	// The name in the server's certificate. Default: the host of its address.
	ServerName string `json:"server_name,omitempty"`
}

// Sentinel is which server Sentinels are asked for.
type Sentinel struct {
	// The name that the Sentinels know the primary and its replicas by.
	// Required. In a Caddyfile it is the argument of `sentinel`.
	Master string `json:"master,omitempty"`

	// User and password at the Sentinels themselves. Default: none. Accept
	// global placeholders.
	Username string  `json:"username,omitempty"`
	Password *string `json:"password,omitempty"`
}

const (
	moduleID = "http.truelayer.token_stores.redis"

	defaultKeyPrefix = "truelayer"
	defaultTimeout   = time.Second
	defaultCacheSize = 128 << 20
	minCacheSize     = 1 << 20
	maxCacheSize     = 1 << 40
)

// CaddyModule returns the Caddy module information.
func (*Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  moduleID,
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision checks the configuration. It connects to nothing: that happens
// when the first request needs it, so Caddy starts and reloads without Redis.
func (s *Store) Provision(ctx caddy.Context) error {
	s.logger = ctx.Logger()
	s.options().SetDefaults()
	if err := s.check(); err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	target, err := s.expand()
	if err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	option, err := target.clientOption()
	if err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	key := target.identity()
	value, _, err := servers.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newServer(target, option), nil
	})
	if err != nil {
		return err
	}
	s.server, s.serverKey = value.(*server), key
	return nil
}

// Cleanup gives the connection back. The store goes on answering for a while.
func (s *Store) Cleanup() error {
	if s.serverKey == "" {
		return nil
	}
	key := s.serverKey
	s.serverKey = ""
	_, err := servers.Delete(key)
	return err
}

// check checks every option whose value is literal, and what concerns two of them.
func (s *Store) check() error {
	checks := []error{s.options().Check()}
	if len(s.Address) == 0 {
		checks = append(checks, checkAddresses(nil))
	}
	switch {
	case s.Sentinel != nil && s.Cluster:
		checks = append(checks, errors.New("sentinel and cluster are two ways to run Redis: keep one"))
	case s.Sentinel == nil && !s.Cluster && len(s.Address) > 1:
		checks = append(checks, errors.New("several addresses: say with sentinel or cluster what they are"))
	}
	if s.Sentinel != nil && s.Sentinel.Master == "" {
		checks = append(checks, errors.New("sentinel: the name of the primary is missing"))
	}
	if s.Database > 0 && s.Cluster {
		checks = append(checks, fmt.Errorf("database %d: a cluster has 0 only", s.Database))
	}
	if s.TLS != nil && (s.TLS.Certificate == "") != (s.TLS.Key == "") {
		checks = append(checks, errors.New("tls: certificate and key belong together"))
	}
	return errors.Join(checks...)
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
			return fmt.Errorf("key_prefix %q has another character than a letter, a digit, or one of -_.: in it", prefix)
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
