package integration

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

func init() {
	caddy.RegisterModule(new(faultyStore))
}

// faultyStore is a memory store that can be made to fail; a third party's
// store would look like it.
type faultyStore struct{ truelayer.MemoryStore }

var (
	storeDown    atomic.Bool // every call fails
	failDeletes  atomic.Bool
	failReplaces atomic.Bool
	errStoreDown = errors.New("the test's store is down")
)

func (*faultyStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.truelayer.token_stores.faulty",
		New: func() caddy.Module { return new(faultyStore) },
	}
}

func (s *faultyStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return s.MemoryStore.UnmarshalCaddyfile(d)
}

func (s *faultyStore) Get(ctx context.Context, id string) ([]byte, error) {
	if storeDown.Load() {
		return nil, errStoreDown
	}
	return s.MemoryStore.Get(ctx, id)
}

func (s *faultyStore) Create(ctx context.Context, id string, record []byte, ttl time.Duration) error {
	if storeDown.Load() {
		return errStoreDown
	}
	return s.MemoryStore.Create(ctx, id, record, ttl)
}

func (s *faultyStore) Replace(ctx context.Context, id string, old, record []byte, ttl time.Duration) error {
	if storeDown.Load() || failReplaces.Load() {
		return errStoreDown
	}
	return s.MemoryStore.Replace(ctx, id, old, record, ttl)
}

func (s *faultyStore) Delete(ctx context.Context, id string) error {
	if storeDown.Load() || failDeletes.Load() {
		return errStoreDown
	}
	return s.MemoryStore.Delete(ctx, id)
}

func startFaulty(t *testing.T) *world {
	t.Helper()
	storeDown.Store(false)
	failReplaces.Store(false)
	return start(t, plain, func(w *world) { w.Options = "store faulty" })
}

func TestStoreDown(t *testing.T) {
	w := startFaulty(t)
	b := w.signedIn()
	anonymous := w.browser()
	callback := w.approve(anonymous, w.Site+"/page")

	storeDown.Store(true)
	page := b.navigate(w.Site + "/page")
	equal(t, "status for a person", page.StatusCode, http.StatusServiceUnavailable)
	equal(t, "Location", page.location(), "")
	if page.Header.Get("Retry-After") == "" || len(page.Header.Values("Set-Cookie")) > 0 {
		t.Errorf("header %v", page.Header)
	}
	api := b.fetch(w.Site + "/page")
	equal(t, "status for a machine", api.StatusCode, http.StatusServiceUnavailable)
	equal(t, "reason", api.problem(t)["reason"], any("store_unavailable"))

	exchanges := w.sim.Calls("token")
	back := anonymous.navigate(callback)
	equal(t, "status of the callback", back.StatusCode, http.StatusServiceUnavailable)
	equal(t, "exchanges while nothing can be kept", w.sim.Calls("token"), exchanges)

	storeDown.Store(false)
	equal(t, "the session afterwards", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "the code was not burnt", anonymous.navigate(callback).location(), "/page")
}

func TestStoreFailsAfterTheExchange(t *testing.T) {
	w := startFaulty(t)
	b := w.browser()
	callback := w.approve(b, w.Site+"/")
	failReplaces.Store(true) // the reservation's, by the session
	back := b.navigate(callback)
	failReplaces.Store(false)
	equal(t, "status", back.StatusCode, http.StatusServiceUnavailable)
	again := b.navigate(callback)
	equal(t, "status of the repeat", again.StatusCode, http.StatusBadRequest)
	equal(t, "exchanges", w.sim.CallsGrant("authorization_code"), 1)
}

func TestStoreFull(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "store memory {\n max_sessions 1\n }" })
	b := w.signedIn()
	other := w.browser()
	back := other.navigate(w.approve(other, w.Site+"/"))
	equal(t, "status", back.StatusCode, http.StatusServiceUnavailable)
	equal(t, "exchanges", w.sim.CallsGrant("authorization_code"), 1) // the code is not spent
	equal(t, "who is signed in stays so", b.navigate(w.Site+"/").StatusCode, http.StatusOK)
}
