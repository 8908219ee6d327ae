package redisstore

import (
	"encoding/base64"
	"testing"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
	"github.com/caddy-truelayer/caddy-truelayer/test/tokenstoretest"
)

// open opens a store with connections of its own, as another process would.
func open(t *testing.T, s *Store) *Store {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := s.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	shared := s.server
	own := &server{option: shared.option, timeout: shared.timeout, outage: outage{threshold: shared.outage.threshold}}
	s.server = own
	t.Cleanup(func() {
		if client := own.client.Load(); client != nil {
			(*client).Close()
		}
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	redis := redisserver.Start(t)
	for name, cacheSize := range map[string]int{"cached": defaultCacheSize, "without cache": 0} {
		t.Run(name, func(t *testing.T) {
			tokenstoretest.Run(t, func(*testing.T) tokenstoretest.Medium {
				return tokenstoretest.Medium{
					Open: func(t *testing.T) truelayer.TokenStore {
						return open(t, &Store{Address: []string{redis.Address}, CacheSize: &cacheSize})
					},
					LoseLock: func(t *testing.T, id string) {
						answer, err := redis.Do("DEL", "truelayer:{"+base64.RawURLEncoding.EncodeToString([]byte(id))+"}:lock")
						if err != nil || answer != ":1" {
							t.Fatalf("%s %v", answer, err)
						}
					},
				}
			})
		})
	}
}
