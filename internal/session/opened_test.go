package session

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// recordOf is a session's record in the store, which a test changes.
func recordOf(t *testing.T, b *bench, secret Secret) (id string, record []byte) {
	t.Helper()
	id = b.Label.SessionID(&secret)
	record, err := b.Store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return id, record
}

// put writes a record over the one that is there.
func put(t *testing.T, b *bench, id string, record []byte) {
	t.Helper()
	found, err := b.Store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Store.Replace(t.Context(), id, found, record, time.Hour); err != nil {
		t.Fatal(err)
	}
}

// TestOpenedSessions: what was opened a moment ago is served only while the whole
// record is the same, under the id that it was found under.
func TestOpenedSessions(t *testing.T) {
	b := newBench(t)
	v, other := b.signIn(t), b.signIn(t)
	id, record := recordOf(t, b, v)
	otherID, otherRecord := recordOf(t, b, other)
	open := func() *Session {
		t.Helper()
		s, err := b.load(t.Context(), &v, b.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open()
	if first == nil || open() != first || b.Shared.opened.get(id, bytes.Clone(record)) != first {
		t.Fatal("it is opened again, although nothing has changed")
	}
	for i := range record {
		changed := bytes.Clone(record)
		changed[i] ^= 1
		put(t, b, id, changed)
		if open() != nil {
			t.Fatalf("opened with byte %d changed", i)
		}
		put(t, b, id, record)
		if s := open(); s == nil || s.bearer != first.bearer && s.bearer.Reveal() != first.bearer.Reveal() {
			t.Fatalf("not opened after byte %d was put back", i)
		}
	}
	for name, wrong := range map[string][]byte{
		"shorter": record[:len(record)-1], "longer": append(bytes.Clone(record), 0), "empty": {}, "another's": otherRecord,
	} {
		if put(t, b, id, wrong); open() != nil {
			t.Errorf("opened from one that is %s", name)
		}
		put(t, b, id, record)
		open()
	}
	put(t, b, otherID, record)
	if b.token(t, other) != "" {
		t.Error("a record that was moved is another visitor's session")
	}
	if err := b.Store.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if open() != nil || b.token(t, v) != "" {
		t.Error("a session that was deleted is served")
	}
}

// TestOpenedSessionsEnd: that a session is kept opened makes it last no longer, and
// a logout forgets it.
func TestOpenedSessionsEnd(t *testing.T) {
	b := newBench(t)
	b.MaxLifetime = 24 * time.Hour
	v := b.signIn(t)
	id, record := recordOf(t, b, v)
	if b.token(t, v) == "" || b.Shared.opened.get(id, record) == nil {
		t.Fatal("it is not kept")
	}
	b.clock.advance(25 * time.Hour)
	if b.token(t, v) != "" {
		t.Error("it lasts longer")
	}
	v = b.signIn(t)
	id, record = recordOf(t, b, v)
	b.token(t, v)
	if ended, err := b.Logout(t.Context(), []Secret{v}, false); err != nil || len(ended) != 1 {
		t.Fatal(err)
	}
	if b.Shared.opened.get(id, record) != nil {
		t.Error("a logout does not forget it")
	}
}

// TestOpenedSessionsAreBounded: however many there are, so many are kept.
func TestOpenedSessionsAreBounded(t *testing.T) {
	o := newOpenedSessions()
	for i := range 3 * openedShards * openedInShard {
		o.put(&Session{id: fmt.Sprintf("%c%d", rune(i%openedShards), i), record: []byte("record")})
	}
	total := 0
	for _, shard := range o {
		total += shard.ItemCount()
	}
	if total == 0 || total > openedShards*openedInShard {
		t.Errorf("%d are kept", total)
	}
}
