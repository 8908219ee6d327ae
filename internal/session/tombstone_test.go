package session

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// TestHeader: what a record shows to anybody is what was written, and names the
// connection by a digest only.
func TestHeader(t *testing.T) {
	l, secret, b := NewLabel("a"), NewSecret(), testBody()
	record := sealedRecord(t, b, &l, &secret)
	start, _, err := splitRecord(record, kindSession)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := readHeader(start[4:])
	want := header{
		created: b.created, lastSeen: b.lastSeen, expires: b.TokenExpires, clientID: "client", provider: "ob-monzo",
		site: siteDigest("app.example.com/truelayer"), connection: l.connectionDigest("connection"), randomConnection: true,
	}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %+v, want %+v", ok, got, want)
	}
	other := NewLabel("b")
	for what, digest := range map[string]Digest{"another connection": l.connectionDigest("another"), "another block": other.connectionDigest("connection")} {
		if digest == want.connection {
			t.Errorf("%s has the same digest", what)
		}
	}
	if _, ok := readHeader(start[4 : len(start)-1]); ok {
		t.Error("a header that was cut was read")
	}
}

// TestTombstone: it takes the place of a session, lives no longer, and holds
// nothing that was sealed. Nothing can be put over it by who holds the session's
// record, a refresh for example.
func TestTombstone(t *testing.T) {
	b := newBench(t)
	v := b.signIn(t)
	id, record := recordOf(t, b, v)
	before := b.open(t, v)
	tombstone, expires, err := Tombstone(record, EndedByOperator)
	if err != nil {
		t.Fatal(err)
	}
	start, sealedPart, err := splitRecord(record, kindSession)
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := readHeader(start[4:]); !ok || !h.expires.Equal(expires) || expires.After(b.clock.now().Add(366*24*time.Hour)) {
		t.Errorf("it expires at %v", expires)
	}
	if bytes.Contains(tombstone, sealedPart[:8]) || len(tombstone) != len(start)+1 {
		t.Error("it holds what was sealed")
	}
	if by, ok := readTombstone(tombstone); !ok || by != EndedByOperator {
		t.Errorf("%v %v", by, ok)
	}
	for name, wrong := range map[string][]byte{
		"a session": record, "without its end": tombstone[:len(tombstone)-1], "another reason": append(bytes.Clone(tombstone[:len(tombstone)-1]), 9), "longer": append(bytes.Clone(tombstone), 1),
	} {
		if _, ok := readTombstone(wrong); ok {
			t.Errorf("%s is a tombstone", name)
		}
	}
	if _, _, err := Tombstone(tombstone, EndedByOperator); err == nil {
		t.Error("a tombstone of a tombstone")
	}
	put(t, b, id, tombstone)
	b.clock.advance(2 * time.Hour)
	if b.token(t, v) != "" {
		t.Error("the session lasts")
	}
	if kept, err := b.saveToken(t.Context(), before, testToken(b)); kept != nil || !IsRevoked(err) {
		t.Errorf("a refresh brought it back: %v", err)
	}
	if _, left := recordOf(t, b, v); !bytes.Equal(left, tombstone) {
		t.Error("the tombstone is gone")
	}
}
