package banks

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

var errAway = errors.New("away")

// source is where a test's Keeper fetches its list.
type source struct {
	mu    sync.Mutex
	calls int
	takes time.Duration
	ids   []string
	err   error
	logo  string // each bank's address, with the id after it
}

func (s *source) set(change func(*source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *source) fetch(ctx context.Context) (providers []tlapi.Provider, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	takes, ids, logo, err := s.takes, s.ids, s.logo, s.err
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, id := range ids {
		p := tlapi.Provider{ID: id}
		if logo != "" {
			p.LogoURL = logo + id
		}
		providers = append(providers, p)
	}
	return providers, err
}

// newTestKeeper returns a Keeper of a source, by the clock of time.Now.
func newTestKeeper(s *source, logger *zap.Logger) *Keeper {
	k := NewKeeper(authserver.NewServer("https://auth.truelayer.com"), "client", logger, time.Now)
	k.fetch = s.fetch
	return k
}

// expect checks the ids of a Keeper's list, and that it is there without waiting. No ids
// mean that there is none.
func expect(t *testing.T, k *Keeper, want string) {
	t.Helper()
	began := time.Now()
	list, err := k.List(t.Context())
	var ids []string
	for _, b := range list {
		ids = append(ids, b.ID)
	}
	if got := strings.Join(ids, " "); got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrNoList) {
		t.Errorf("%q, %v, not %q", got, err, want)
	}
	if waited := time.Since(began); waited != 0 {
		t.Errorf("waited for %v", waited)
	}
}

// TestOneCallForAll: many callers share one call, which goes on without them.
func TestOneCallForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{takes: 2 * time.Second, ids: []string{"a", "b"}}
		k := newTestKeeper(s, zap.NewNop())
		gone, cancel := context.WithCancel(t.Context())
		var got atomic.Int64
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				ctx := t.Context()
				if i%2 == 0 {
					ctx = gone
				}
				if list, err := k.List(ctx); err == nil && len(list) == 2 {
					got.Add(1)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if s.count() != 1 || got.Load() != 500 {
			t.Errorf("%d calls, %d lists", s.count(), got.Load())
		}
		expect(t, k, "a b")
	})
}

// TestListGrowsOld: an old list is served at once while it is renewed, once, and one of
// a day is not served.
func TestListGrowsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{ids: []string{"a"}}
		k := newTestKeeper(s, zap.NewNop())
		expect(t, k, "a")
		time.Sleep(freshFor - 1)
		expect(t, k, "a")
		if s.count() != 1 {
			t.Error("a fresh list was renewed")
		}
		s.set(func(s *source) { s.ids, s.takes = []string{"b"}, time.Second })
		time.Sleep(time.Nanosecond)
		for range 10 {
			expect(t, k, "a")
		}
		k.Wait(t.Context())
		expect(t, k, "b")
		if s.count() != 2 {
			t.Errorf("%d calls", s.count())
		}
		s.set(func(s *source) { s.ids, s.takes = []string{"c"}, 0 })
		time.Sleep(usableFor)
		expect(t, k, "c")
	})
}

// TestListCannotBeRenewed: an old list is used for a day, attempts have a pause between
// them, and the log tells of the first and of the end.
func TestListCannotBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		s := &source{ids: []string{"a"}}
		k := newTestKeeper(s, zap.New(core))
		expect(t, k, "a")
		s.set(func(s *source) { s.ids, s.err = nil, errAway })
		time.Sleep(freshFor)
		for range 100 { // ten minutes
			expect(t, k, "a")
			time.Sleep(6 * time.Second)
		}
		if n := s.count(); n != 1+20 {
			t.Errorf("%d calls", n)
		}
		if logs.Len() != 1 || logs.All()[0].Level != zap.WarnLevel {
			t.Errorf("logged %v", logs.All())
		}
		time.Sleep(usableFor - 20*time.Minute - 1)
		expect(t, k, "a")
		k.Wait(t.Context())
		time.Sleep(time.Nanosecond)
		expect(t, k, "")
		s.set(func(s *source) { s.ids, s.err = []string{"b"}, nil })
		time.Sleep(pause - 1)
		k.Wait(t.Context())
		expect(t, k, "b")
		if last := logs.All()[logs.Len()-1]; logs.Len() != 2 || last.Level != zap.InfoLevel {
			t.Errorf("logged %v", logs.All())
		}
	})
}

// TestNoBanks: a list without banks does not replace one with banks.
func TestNoBanks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		k := newTestKeeper(s, zap.NewNop())
		expect(t, k, "")
		s.set(func(s *source) { s.ids = []string{"a"} })
		expect(t, k, "") // in the pause
		time.Sleep(pause)
		expect(t, k, "a")
		s.set(func(s *source) { s.ids = nil })
		time.Sleep(freshFor)
		expect(t, k, "a")
		k.Wait(t.Context())
		expect(t, k, "a")
	})
}

// TestListIsSlow: a caller waits for three seconds, the call goes on, and ends.
func TestListIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{ids: []string{"a"}, takes: 5 * time.Second}
		k := newTestKeeper(s, zap.NewNop())
		began := time.Now()
		if _, err := k.List(t.Context()); !errors.Is(err, ErrNoList) || time.Since(began) != callerTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		k.Wait(t.Context())
		expect(t, k, "a")
		s.set(func(s *source) { s.takes = time.Hour })
		time.Sleep(freshFor)
		expect(t, k, "a")
		began = time.Now()
		if k.Wait(t.Context()); time.Since(began) != attemptTimeout {
			t.Errorf("an attempt took %v", time.Since(began))
		}
	})
}

// TestListAndTheClock: after the clock was set back a list is renewed, and neither it nor
// a pause lasts for as long as the step.
func TestListAndTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{ids: []string{"a"}}
		k := newTestKeeper(s, zap.NewNop())
		var back time.Duration
		k.now = func() time.Time { return time.Now().Add(-back) }
		expect(t, k, "a")
		back = 48 * time.Hour
		s.set(func(s *source) { s.ids = []string{"b"} })
		expect(t, k, "a")
		k.Wait(t.Context())
		expect(t, k, "b")
		s.set(func(s *source) { s.err = errAway })
		time.Sleep(freshFor)
		expect(t, k, "b")
		k.Wait(t.Context())
		back = 96 * time.Hour
		expect(t, k, "b")
		k.Wait(t.Context())
		if s.count() != 4 {
			t.Errorf("%d calls", s.count())
		}
		time.Sleep(usableFor - freshFor)
		expect(t, k, "")
	})
}

// TestHostileList: a list that is too large, or that is none, is an error that repeats
// none of it. Of an odd one the rest is used.
func TestHostileList(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"two megabytes":   {`[{"provider_id":"ob-a","display_name":"hunter2` + strings.Repeat("x", 2<<20) + `"}]`, ""},
		"a million":       {`[` + strings.Repeat("1,", 1000000) + `{"provider_id":"ob-a"}]`, ""},
		"half a million":  {`[` + strings.Repeat("1,", 500000) + `{"provider_id":"ob-a"}]`, "ob-a"},
		"deep":            {strings.Repeat(`[`, 500000), ""},
		"not JSON":        {`<html>hunter2`, ""},
		"odd":             {`[{"provider_id":{"a":1}},{"provider_id":"hunter2/../x"},{"provider_id":"ob-a","display_name":[],"steps":7,"logo_url":{},"availability":"x"},[],null]`, "ob-a"},
		"all of them odd": {`[{"provider_id":"hunter2/../x"}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, test.body) }))
			defer server.Close()
			k := NewKeeper(authserver.NewServer(server.URL), "client", zap.NewNop(), time.Now)
			list, err := k.List(t.Context())
			if test.want == "" {
				if !errors.Is(err, ErrNoList) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v, %v", list, err)
				}
			} else if err != nil || len(list) != 1 || list[0].ID != test.want {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
}

// TestSimulatedBanks: the list and the logos of the simulated TrueLayer, on this machine,
// are read.
func TestSimulatedBanks(t *testing.T) {
	sim, err := simulator.New(simulator.Config{
		Clients: []simulator.Client{{ID: "client", Secret: "client-secret", RedirectURIs: []string{"https://app.example.com/truelayer"}}}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	sim.Set(func(s *simulator.Settings) { s.Unhealthy = []string{"ob-kestrel"} })
	server := httptest.NewServer(sim)
	defer server.Close()
	k := NewKeeper(authserver.NewServer(server.URL), "client", zap.NewNop(), time.Now)
	logos := NewLogos(k)
	defer logos.CloseIdleConnections()
	list, err := k.List(t.Context())
	if err != nil || len(list) < 4 {
		t.Fatal(list, err)
	}
	types, dialogs, choices := make(map[string]int), 0, 0
	for _, b := range list {
		if !b.HasLogo || b.Healthy != (b.ID != "ob-kestrel") || b.Dialog && b.Steps != nil {
			t.Errorf("%+v", b)
		}
		if b.Dialog {
			dialogs++
		} else if b.Steps != nil {
			choices++
		}
		content, mediaType, err := logos.Logo(t.Context(), b.ID)
		if err != nil || len(content) == 0 {
			t.Errorf("%s: %v", b.ID, err)
		}
		types[mediaType]++
	}
	if types["image/svg+xml"] == 0 || types["image/png"] == 0 || dialogs == 0 || choices == 0 {
		t.Errorf("%v, %d need the dialog, %d have a choice", types, dialogs, choices)
	}
}
