package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// List implements Lister with pages of one record.
func (s *records) List(_ context.Context, cursor string, _ int) (ids []string, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Sorted(maps.Keys(s.of))
	i := slices.IndexFunc(all, func(id string) bool { return id > cursor })
	if i < 0 {
		return nil, "", nil
	}
	return all[i : i+1], all[i], nil
}

// list returns what all pages have.
func (b *bench) list(t *testing.T, f Filter) (sessions []Listed) {
	t.Helper()
	cursor := ""
	for {
		page, next, err := b.List(t.Context(), b.Store.(Lister), f, cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, page...)
		if next == "" {
			return sessions
		}
		cursor = next
	}
}

// TestList: an operator sees the sessions of a site, by what their headers say, and no
// claims, reservations, tombstones or sessions of other sites.
func TestList(t *testing.T) {
	b := newBench(t)
	first, second := b.signIn(t), b.signIn(t)
	other := b.anotherNode(t)
	other.Site = "elsewhere.example.com/truelayer"
	other.signIn(t)
	connection := b.open(t, first).Connection
	for _, test := range []struct {
		what   string
		filter Filter
		want   int
	}{
		{"all", Filter{}, 2},
		{"a client", Filter{ClientID: "client"}, 2},
		{"another client", Filter{ClientID: "another"}, 0},
		{"a provider", Filter{Provider: "mock"}, 2},
		{"another provider", Filter{Provider: "ob-monzo"}, 0},
		{"a connection", Filter{Connection: connection, Provider: "mock"}, 1},
		{"another connection", Filter{Connection: "another"}, 0},
	} {
		if got := b.list(t, test.filter); len(got) != test.want {
			t.Errorf("%s: %d sessions, want %d", test.what, len(got), test.want)
		}
	}
	l := b.list(t, Filter{Connection: connection})[0]
	s := b.open(t, first)
	if l.ID != s.id || l.ClientID != "client" || l.Provider != s.Provider || !l.Created.Equal(s.created) || !l.LastSeen.Equal(s.lastSeen) || !l.Expires.After(b.clock.now()) {
		t.Errorf("%+v", l)
	}
	if _, revoked, err := b.Revoke(t.Context(), b.open(t, second).id, Filter{}); !revoked || err != nil {
		t.Fatalf("revoked %v: %v", revoked, err)
	}
	if got := b.list(t, Filter{}); len(got) != 1 {
		t.Errorf("after one was revoked there are %d", len(got))
	}
	b.clock.advance(366 * 24 * time.Hour)
	if got := b.list(t, Filter{}); len(got) != 0 {
		t.Errorf("%d have expired", len(got))
	}
}

// TestRevoke: it ends the session that is meant, tells its visitor, and touches nothing
// else.
func TestRevoke(t *testing.T) {
	b := newBench(t)
	visitor, neighbour := b.signIn(t), b.signIn(t)
	id := b.open(t, visitor).id
	for what, revoke := range map[string]func() (Listed, bool, error){
		"another provider": func() (Listed, bool, error) { return b.Revoke(t.Context(), id, Filter{Provider: "ob-monzo"}) },
		"another id":       func() (Listed, bool, error) { return b.Revoke(t.Context(), "no id", Filter{}) },
		"another site": func() (Listed, bool, error) {
			other := b.anotherNode(t)
			other.Site = "elsewhere.example.com/truelayer"
			return other.Revoke(t.Context(), id, Filter{})
		},
	} {
		if _, revoked, err := revoke(); revoked || err != nil {
			t.Errorf("%s: %v %v", what, revoked, err)
		}
	}
	if l, revoked, err := b.Revoke(t.Context(), id, Filter{}); !revoked || err != nil || l.ID != id {
		t.Fatalf("%v %v", revoked, err)
	}
	if _, revoked, err := b.Revoke(t.Context(), id, Filter{}); revoked || err != nil {
		t.Errorf("twice: %v %v", revoked, err)
	}
	now := b.clock.now()
	if s, err := b.Find(t.Context(), []Secret{visitor}, now); s != nil || !IsRevoked(err) {
		t.Errorf("the visitor has %v, %v", s, err)
	}
	if s, err := b.Find(t.Context(), []Secret{visitor, neighbour}, now); s == nil || err != nil {
		t.Errorf("with another session as well: %v", err)
	}
	if b.token(t, neighbour) == "" {
		t.Error("the neighbour's session has ended")
	}
	if ended, err := b.Logout(t.Context(), []Secret{visitor}, true); len(ended) != 0 || err != nil {
		t.Errorf("a logout ends %v: %v", ended, err)
	}
	if s, err := b.Find(t.Context(), []Secret{visitor}, now); s != nil || err != nil {
		t.Errorf("after a logout: %v %v", s, err)
	}
}

// TestForgetRevoked: whoever has been told is like anybody else.
func TestForgetRevoked(t *testing.T) {
	b := newBench(t)
	visitor, neighbour := b.signIn(t), b.signIn(t)
	if _, revoked, err := b.Revoke(t.Context(), b.open(t, visitor).id, Filter{}); !revoked || err != nil {
		t.Fatal(revoked, err)
	}
	b.ForgetRevoked(t.Context(), []Secret{visitor, neighbour})
	if s, err := b.Find(t.Context(), []Secret{visitor}, b.clock.now()); s != nil || err != nil {
		t.Errorf("%v %v", s, err)
	}
	if b.token(t, neighbour) == "" {
		t.Error("the neighbour's session has ended")
	}
}

// touching is a store in which somebody writes a session whenever it is read.
type touching struct {
	Store
	mu    sync.Mutex
	left  int
	touch func()
}

func (s *touching) Get(ctx context.Context, id string) ([]byte, error) {
	record, err := s.Store.Get(ctx, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left > 0 {
		s.left--
		s.touch()
	}
	return record, err
}

// TestRevokePastWrites: touches and refreshes at the same moment do not save a session.
// One that is written all the time is given up.
func TestRevokePastWrites(t *testing.T) {
	for writes, want := range map[int]bool{0: true, 5: true, 1000: false} {
		b := newBench(t)
		visitor := b.signIn(t)
		s := b.open(t, visitor)
		inner := *b.Manager
		store := &touching{Store: b.Store, left: writes}
		store.touch = func() {
			current, err := inner.load(t.Context(), &visitor, b.clock.now())
			if err != nil {
				t.Error(err)
				return
			}
			changed := current.body
			changed.lastSeen = changed.lastSeen.Add(time.Second)
			if _, err := inner.replace(t.Context(), current, changed); err != nil {
				t.Error(err)
			}
		}
		b.Store = store
		_, revoked, err := b.Revoke(t.Context(), s.id, Filter{})
		if revoked != want || (err == nil) != want {
			t.Errorf("after %d writes: %v %v", writes, revoked, err)
		}
	}
}

// TestListFails: a store that fails is no empty one.
func TestListFails(t *testing.T) {
	b := newBench(t)
	b.signIn(t)
	broken := errors.New("broken")
	b.Store = failingGets{b.Store, broken}
	if _, _, err := b.List(t.Context(), b.Store.(failingGets).Store.(Lister), Filter{}, "", 10); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, _, err := b.Revoke(t.Context(), "id", Filter{}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	panicking := &failingStore{Store: b.Store.(failingGets).Store}
	panicking.panics.Store(true)
	b.Store = panicking
	if _, _, err := b.List(t.Context(), panicking.Store.(Lister), Filter{}, "", 10); err == nil {
		t.Error("a store that panics is empty")
	}
}

type failingGets struct {
	Store
	err error
}

func (s failingGets) Get(context.Context, string) ([]byte, error) { return nil, s.err }
