package redisstore

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

// UnmarshalCaddyfile sets the store up from Caddyfile tokens. Syntax:
//
//	store redis {
//		address    <host:port...>
//		username   <name>
//		password   <password>
//		database   <number>
//		key_prefix <prefix>
//		tls {
//			ca          <file>
//			certificate <file>
//			key         <file>
//			server_name <name>
//		}
//		sentinel <primary> {
//			username <name>
//			password <password>
//		}
//		cluster
//		timeout    <duration>
//		cache_size <size>
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		return d.Err("store redis takes a block, nothing else on its line")
	}
	return s.options().Read(d, "store redis")
}

// options is the table of the store's options. The checks run for JSON as well.
func (s *Store) options() block.Options {
	return block.Options{
		{Name: "address", Syntax: "<host:port...>", Required: true, Value: block.Arguments{
			IsSet: func() bool { return len(s.Address) > 0 },
			Read: func(args []string) error {
				s.Address = args
				return checkAddresses(args)
			},
		}, Check: func() error { return checkAddresses(s.Address) }},
		{Name: "username", Syntax: "<name>", Value: block.Word(&s.Username, "")},
		{Name: "password", Syntax: "<password>", Value: block.Secret(&s.Password)},
		{Name: "database", Syntax: "<number>", Value: block.Number(&s.Database, 0, 0)},
		{Name: "key_prefix", Syntax: "<prefix>", Value: block.Word(&s.KeyPrefix, defaultKeyPrefix), Check: func() error { return checkKeyPrefix(s.KeyPrefix) }},
		{Name: "tls", Value: block.Sub(&s.TLS, (*TLS).options)},
		{Name: "sentinel", Syntax: "<primary>", Value: block.SubWith(&s.Sentinel, func(s *Sentinel) block.Value { return block.Word(&s.Master, "") }, (*Sentinel).options)},
		{Name: "cluster", Value: block.Flag(&s.Cluster)},
		{Name: "timeout", Syntax: "<duration>", Value: block.Duration(&s.Timeout, defaultTimeout), Check: func() error { return checkTimeout(s.Timeout) }},
		{Name: "cache_size", Syntax: "<size>", Value: block.Size(&s.CacheSize, maxCacheSize, defaultCacheSize), Check: func() error { return checkCacheSize(*s.CacheSize) }},
	}
}

func (t *TLS) options() block.Options {
	return block.Options{
		{Name: "ca", Syntax: "<file>", Value: block.Word(&t.CA, "")},
		{Name: "certificate", Syntax: "<file>", Value: block.Word(&t.Certificate, "")},
		{Name: "key", Syntax: "<file>", Value: block.Word(&t.Key, "")},
		{Name: "server_name", Syntax: "<name>", Value: block.Word(&t.ServerName, "")},
	}
}

func (s *Sentinel) options() block.Options {
	return block.Options{
		{Name: "username", Syntax: "<name>", Value: block.Word(&s.Username, "")},
		{Name: "password", Syntax: "<password>", Value: block.Secret(&s.Password)},
	}
}
