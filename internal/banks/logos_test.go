package banks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const logoBase = "https://assets.truelayer.com/"

// gallery answers for the server of the logos.
type gallery struct {
	mu      sync.Mutex
	calls   []string
	running int
	most    int
	takes   time.Duration
	content []byte
	err     error
}

func (g *gallery) fetch(_ context.Context, address string) (image, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, strings.TrimPrefix(address, logoBase))
	g.running++
	g.most = max(g.most, g.running)
	g.mu.Unlock()
	time.Sleep(g.takes)
	g.mu.Lock()
	g.running--
	return image{g.content, "image/png"}, g.err
}

func newTestLogos(s *source, g *gallery) *Logos {
	l := NewLogos(newTestKeeper(s, zap.NewNop()))
	l.fetch = g.fetch
	return l
}

// TestLogos: a logo is fetched once for all, and kept for a day. That there is none is
// remembered for ten minutes.
func TestLogos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gallery{takes: time.Second, content: []byte("PNG")}
		l := newTestLogos(&source{ids: []string{"a", "b"}, logo: logoBase}, g)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if content, mediaType, err := l.Logo(t.Context(), "a"); err != nil || string(content) != "PNG" || mediaType != "image/png" {
					t.Errorf("%q %s %v", content, mediaType, err)
				}
			})
		}
		all.Wait()
		get := func(calls int, want error) {
			t.Helper()
			if _, _, err := l.Logo(t.Context(), "a"); !errors.Is(err, want) || len(g.calls) != calls {
				t.Errorf("%v, %v", err, g.calls)
			}
		}
		get(1, nil)
		time.Sleep(logoFor - time.Second)
		get(1, nil)
		time.Sleep(time.Second)
		g.err = errAway
		get(2, errAway)
		time.Sleep(noLogoFor - 1)
		g.err = nil
		get(2, errAway)
		time.Sleep(time.Nanosecond)
		get(3, nil)
	})
}

// TestLogosOfTheListOnly: nothing is fetched for an id that is not in the list, or for a
// bank without an address that may be asked.
func TestLogosOfTheListOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &source{ids: []string{"a"}, logo: "https://evil.example/"}, &gallery{}
		l := newTestLogos(s, g)
		for id, want := range map[string]error{"a": ErrNoLogo, "b": ErrUnknownBank, "": ErrUnknownBank, "../a": ErrUnknownBank} {
			if _, _, err := l.Logo(t.Context(), id); !errors.Is(err, want) {
				t.Errorf("%q: %v", id, err)
			}
		}
		s.set(func(s *source) { s.err = errAway })
		time.Sleep(usableFor)
		if _, _, err := l.Logo(t.Context(), "a"); !errors.Is(err, ErrNoList) {
			t.Error(err)
		}
		if len(g.calls) != 0 || len(l.byID) != 0 {
			t.Error(g.calls)
		}
	})
}

// TestLogoMoves: a logo with a new address is fetched from there.
func TestLogoMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &source{ids: []string{"a"}, logo: logoBase}, &gallery{}
		l := newTestLogos(s, g)
		for _, folder := range []string{"", "new/"} {
			s.set(func(s *source) { s.logo = logoBase + folder })
			for range 2 { // the second list is the renewed one
				time.Sleep(freshFor)
				_, _, _ = l.Logo(t.Context(), "a")
				l.keeper.Wait(t.Context())
			}
		}
		_, _, _ = l.Logo(t.Context(), "a")
		if strings.Join(g.calls, " ") != "a new/a" || len(l.byID) != 1 || l.ages.Len() != 1 {
			t.Error(g.calls)
		}
	})
}

// TestManyLogos: at most eight are fetched at once, and what does not get its turn is
// tried again the next time.
func TestManyLogos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &source{logo: logoBase}, &gallery{takes: downloadTimeout}
		for i := range 100 {
			s.ids = append(s.ids, fmt.Sprint("bank-", i))
		}
		l := newTestLogos(s, g)
		var all sync.WaitGroup
		var mu sync.Mutex
		results := make(map[error]int)
		for _, id := range s.ids {
			all.Go(func() {
				_, _, err := l.Logo(t.Context(), id)
				mu.Lock()
				defer mu.Unlock()
				results[err]++
			})
		}
		began := time.Now()
		all.Wait()
		if g.most != maxDownloads || results[flight.ErrBusy] < 50 || results[nil] < 2*maxDownloads || results[nil]+results[flight.ErrBusy] != 100 {
			t.Errorf("%d at once, %v", g.most, results)
		}
		if waited := time.Since(began); waited > turnTimeout+downloadTimeout {
			t.Errorf("waited for %v", waited)
		}
		g.takes = 0
		for _, id := range s.ids {
			if _, _, err := l.Logo(t.Context(), id); err != nil {
				t.Error(id, err)
			}
		}
	})
}

// TestLogosAreBounded: the oldest logos go when there is no room, and the room is what
// all that is kept takes.
func TestLogosAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &source{logo: logoBase}, &gallery{content: make([]byte, maxLogo)}
		for i := range 500 {
			s.ids = append(s.ids, fmt.Sprint("bank-", i))
		}
		l := newTestLogos(s, g)
		for i, id := range s.ids {
			if i%100 == 99 {
				g.err, g.content = errAway, nil
			} else {
				g.err, g.content = nil, make([]byte, maxLogo)
			}
			_, _, _ = l.Logo(t.Context(), id)
		}
		size := 0
		for element := l.ages.Front(); element != nil; element = element.Next() {
			size += element.Value.(*logo).size()
		}
		if size != l.size || size > maxLogos || size < maxLogos-2*maxLogo || len(l.byID) != l.ages.Len() {
			t.Errorf("%d bytes, counted as %d, of %d logos and %d", size, l.size, len(l.byID), l.ages.Len())
		}
		if l.byID["bank-0"] != nil || l.byID["bank-498"] == nil {
			t.Error("another than the oldest went")
		}
	})
}

// TestVisitorsWhoGo: a download goes on without whoever asked for it.
func TestVisitorsWhoGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gallery{takes: time.Second, content: []byte("PNG")}
		l := newTestLogos(&source{ids: []string{"a"}, logo: logoBase}, g)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := l.Logo(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		l.Wait(t.Context())
		if content, _, err := l.Logo(t.Context(), "a"); string(content) != "PNG" || err != nil || len(g.calls) != 1 {
			t.Error(content, err, g.calls)
		}
	})
}
