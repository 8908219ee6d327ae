package truelayer_test

import (
	"testing"
	"time"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
	_ "github.com/caddy-truelayer/caddy-truelayer/redisstore" // the documents' Caddyfiles name it
	"github.com/caddy-truelayer/caddy-truelayer/test/tokenstoretest"
)

func TestMemoryStore(t *testing.T) {
	tokenstoretest.Run(t, func(*testing.T) tokenstoretest.Medium {
		return tokenstoretest.Medium{Open: func(t *testing.T) truelayer.TokenStore { return openMemory(t, 0) }}
	})
}

func TestStorageStore(t *testing.T) {
	for name, cacheTTL := range map[string]time.Duration{"cached": 2 * time.Second, "without cache": 0} {
		t.Run(name, func(t *testing.T) {
			tokenstoretest.Run(t, func(t *testing.T) tokenstoretest.Medium {
				folder := t.TempDir()
				return tokenstoretest.Medium{
					Open:     func(t *testing.T) truelayer.TokenStore { return truelayer.OpenStorage(t, folder, cacheTTL) },
					LoseLock: func(t *testing.T, id string) { truelayer.LoseStorageLock(t, folder, id) },
				}
			})
		})
	}
}
