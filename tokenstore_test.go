package truelayer_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
	"github.com/caddy-truelayer/caddy-truelayer/redisstore"
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

// TestREADMEStores: the tables of the stores' options name what they have.
func TestREADMEStores(t *testing.T) {
	for heading, fields := range map[string]map[string]bool{
		"### store memory":  truelayer.JSONFields[truelayer.MemoryStore](t),
		"### store storage": truelayer.JSONFields[truelayer.StorageStore](t),
		"### store redis":   truelayer.JSONFields[redisstore.Store](t),
	} {
		if got, wanted := truelayer.FirstColumn(t, heading), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, wanted) {
			t.Errorf("%s: the README has %q, the code %q", heading, got, wanted)
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	nested := truelayer.JSONFields[redisstore.TLS](t)
	maps.Copy(nested, truelayer.JSONFields[redisstore.Sentinel](t))
	delete(nested, "master") // the option's argument
	for name := range nested {
		if !strings.Contains(string(readme), "`"+name+" <") {
			t.Errorf("the README does not have %s, an option of tls or sentinel", name)
		}
	}
}
