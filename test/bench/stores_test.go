package bench

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
	_ "github.com/caddy-truelayer/caddy-truelayer/redisstore"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// recordSize is that of a session's record with a token of 1.5 KB.
const recordSize = 1800

// opener opens a store as another process would: it finds the records of those
// that were opened before, and shares neither a cache nor a connection with them.
type opener func() truelayer.TokenStore

// shared are the stores that several processes can share.
var shared = []struct {
	name  string
	start func(*testing.B) opener
}{
	{"storage", startStorage},
	{"redis", startRedis},
}

// startStorage opens stores with one directory. Those with different settings
// share nothing in the process.
func startStorage(b *testing.B) opener {
	b.Helper()
	open, directory, opened := openIn(b), b.TempDir(), 0
	return func() truelayer.TokenStore {
		opened++
		return open(fmt.Sprintf(`{"type": "storage", "storage": {"module": "file_system", "root": %q}, "cache_ttl": "%dms"}`,
			directory, 2000+opened))
	}
}

// startRedis opens stores with one Redis, in the same way.
func startRedis(b *testing.B) opener {
	b.Helper()
	open, redis, opened := openIn(b), redisserver.Start(b), 0
	return func() truelayer.TokenStore {
		opened++
		return open(fmt.Sprintf(`{"type": "redis", "address": [%q], "timeout": "%dms"}`, redis.Address, 1000+opened))
	}
}

// openIn returns what opens a store with a configuration.
func openIn(b *testing.B) func(config string) truelayer.TokenStore {
	b.Helper()
	ctx := newContext(b)
	return func(config string) truelayer.TokenStore {
		b.Helper()
		handler := struct {
			Store json.RawMessage `caddy:"namespace=http.truelayer.token_stores inline_key=type"`
		}{json.RawMessage(config)}
		module, err := ctx.LoadModule(&handler, "Store")
		if err != nil {
			b.Fatal(err)
		}
		return module.(truelayer.TokenStore)
	}
}

// fill creates records that expire after ttl, and returns their ids.
func fill(b *testing.B, store truelayer.TokenStore, records int, ttl time.Duration) []string {
	b.Helper()
	ids := make([]string, records)
	for i := range ids {
		ids[i] = newID()
		if err := store.Create(b.Context(), ids[i], make([]byte, recordSize), ttl); err != nil {
			b.Fatal(err)
		}
	}
	return ids
}

// newID is an id as long and as random as a session's.
func newID() string {
	var id strings.Builder
	_, _ = io.CopyN(&id, rand.Reader, 32)
	return id.String()
}

// isBrief reports whether the benchmarks run so many times instead of so long:
// then somebody only looks whether they work.
func isBrief() bool {
	return strings.HasSuffix(flag.Lookup("test.benchtime").Value.String(), "x")
}
