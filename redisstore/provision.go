package redisstore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

// Provision checks the configuration. It does not connect, so Caddy starts and
// reloads without Redis. The first request that needs Redis makes the connection.
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

// String returns the store's addresses, for logs.
func (s *Store) String() string { return strings.Join(s.Address, " ") }

// Cleanup releases the connection. The store still works for closeDelay.
func (s *Store) Cleanup() error {
	if s.serverKey == "" {
		return nil
	}
	key := s.serverKey
	s.serverKey = ""
	_, err := servers.Delete(key)
	return err
}

// check checks the options, except for values with placeholders, and what concerns
// two of them.
func (s *Store) check() error {
	checks := []error{s.options().Check()}
	if len(s.Address) == 0 {
		checks = append(checks, checkAddresses(nil))
	}
	switch {
	case s.Sentinel != nil && s.Cluster:
		checks = append(checks, errors.New("sentinel and cluster are two ways to run Redis: keep one"))
	case s.Sentinel == nil && !s.Cluster && len(s.Address) > 1:
		checks = append(checks, errors.New("several addresses: add sentinel or cluster, or keep one address"))
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

// expand returns the store's target.
func (s *Store) expand() (target, error) {
	t := target{
		Database: s.Database, Cluster: s.Cluster, Timeout: time.Duration(s.Timeout), CacheSize: *s.CacheSize,
	}
	var errs []error
	set := func(option, value string, expanded *string) {
		if value == "" {
			return
		}
		var err error
		if *expanded, err = block.Expand(option, value); err != nil {
			errs = append(errs, err)
		}
	}
	t.Addresses = make([]string, len(s.Address))
	for i, address := range s.Address {
		set("address", address, &t.Addresses[i])
	}
	set("username", s.Username, &t.Username)
	set("password", reveal(s.Password), &t.Password)
	if s.Sentinel != nil {
		t.Master = s.Sentinel.Master
		set("sentinel username", s.Sentinel.Username, &t.SentinelUsername)
		set("sentinel password", reveal(s.Sentinel.Password), &t.SentinelPassword)
	}
	if err := errors.Join(errs...); err != nil {
		return target{}, err
	}
	if err := checkAddresses(t.Addresses); err != nil {
		return target{}, err
	}
	if s.TLS == nil {
		return t, nil
	}
	t.TLS, t.ServerName = true, s.TLS.ServerName
	for _, file := range []struct {
		option, name string
		content      *[]byte
	}{
		{"tls ca", s.TLS.CA, &t.CA},
		{"tls certificate", s.TLS.Certificate, &t.Certificate},
		{"tls key", s.TLS.Key, &t.Key},
	} {
		if file.name == "" {
			continue
		}
		content, err := os.ReadFile(file.name)
		if err != nil {
			return target{}, fmt.Errorf("%s: reading the file: %w", file.option, err)
		}
		*file.content = content
	}
	return t, nil
}
