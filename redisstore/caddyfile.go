package redisstore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
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
	if err := readBlock(d, "store redis", s.options()); err != nil {
		return err
	}
	if len(s.Address) == 0 {
		return d.WrapErr(checkAddresses(nil))
	}
	return nil
}

// parsers holds a parser for each option of a block; the dispenser stands on
// the option's name.
type parsers map[string]func(*caddyfile.Dispenser) error

func readBlock(d *caddyfile.Dispenser, block string, options parsers) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		parse, ok := options[option]
		if !ok {
			return d.Errf("unknown option %q: %s has %s", option, block, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		}
		if seen[option] {
			return d.Errf("%s is given twice: keep one", option)
		}
		seen[option] = true
		if err := parse(d); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (s *Store) options() parsers {
	return parsers{
		"address": func(d *caddyfile.Dispenser) error {
			s.Address = d.RemainingArgs()
			return checkAddresses(s.Address)
		},
		"username":   text(&s.Username),
		"password":   secret(&s.Password),
		"key_prefix": checked(&s.KeyPrefix, checkKeyPrefix),
		"database": func(d *caddyfile.Dispenser) (err error) {
			var number string
			if err := text(&number)(d); err != nil {
				return err
			}
			if s.Database, err = strconv.Atoi(number); err != nil || s.Database < 0 {
				return fmt.Errorf("database %q is not a number of 0 or more", number)
			}
			return nil
		},
		"tls": func(d *caddyfile.Dispenser) error {
			if d.NextArg() {
				return errors.New("tls takes a block, or nothing")
			}
			s.TLS = new(TLS)
			return readBlock(d, "tls", parsers{
				"ca":          text(&s.TLS.CA),
				"certificate": text(&s.TLS.Certificate),
				"key":         text(&s.TLS.Key),
				"server_name": text(&s.TLS.ServerName),
			})
		},
		"sentinel": func(d *caddyfile.Dispenser) error {
			s.Sentinel = new(Sentinel)
			if err := text(&s.Sentinel.Master)(d); err != nil {
				return err
			}
			return readBlock(d, "sentinel", parsers{
				"username": text(&s.Sentinel.Username),
				"password": secret(&s.Sentinel.Password),
			})
		},
		"cluster": func(d *caddyfile.Dispenser) error {
			s.Cluster = true
			if d.NextArg() {
				return errors.New("cluster takes no argument: it is on when it is there")
			}
			return nil
		},
		"timeout": func(d *caddyfile.Dispenser) error {
			var duration string
			if err := text(&duration)(d); err != nil {
				return err
			}
			timeout, err := caddy.ParseDuration(duration)
			if err != nil {
				return fmt.Errorf("timeout %q is not a duration such as 500ms", duration)
			}
			s.Timeout = caddy.Duration(timeout)
			return checkTimeout(s.Timeout)
		},
		"cache_size": func(d *caddyfile.Dispenser) error {
			var size string
			if err := text(&size)(d); err != nil {
				return err
			}
			bytes, err := humanize.ParseBytes(size)
			if err != nil || bytes > maxCacheSize {
				return fmt.Errorf("cache_size %q is not a size such as 64MiB, or 0", size)
			}
			s.CacheSize = new(int(bytes))
			return checkCacheSize(*s.CacheSize)
		},
	}
}

// text reads an option's only argument. Its error does not repeat the
// argument: it may be a password.
func text(value *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if !d.NextArg() || d.Val() == "" {
			return fmt.Errorf("%s takes one argument", option)
		}
		*value = d.Val()
		if d.NextArg() {
			return fmt.Errorf("%s takes one argument; quote it if it has spaces", option)
		}
		return nil
	}
}

func secret(value **string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		*value = new(string)
		return text(*value)(d)
	}
}

func checked(value *string, check func(string) error) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if err := text(value)(d); err != nil {
			return err
		}
		return check(*value)
	}
}
