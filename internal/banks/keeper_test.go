package banks

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

// newTestKeeper returns a Keeper that fetches with a function.
func newTestKeeper(fetch func(context.Context) ([]tlapi.Provider, error)) *Keeper {
	k := NewKeeper(authserver.NewServer("https://auth.truelayer.com"), "client", zap.NewNop(), time.Now)
	k.fetch = fetch
	return k
}

// TestList: the list is as the server says.
func TestList(t *testing.T) {
	k := newTestKeeper(func(context.Context) ([]tlapi.Provider, error) { return []tlapi.Provider{{ID: "ob-b"}}, nil })
	if list, err := k.List(t.Context()); err != nil || len(list) != 1 || list[0].Name != "ob-b" {
		t.Error(list, err)
	}
}
