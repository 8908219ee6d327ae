package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
)

func testBody() *body {
	at := time.Unix(1_800_000_000, 0)
	return &body{
		created: at, lastSeen: at.Add(time.Minute), tokenIssued: at, TokenExpires: at.Add(time.Hour), ConsentEnds: at.Add(time.Hour),
		consentOver: true, Told: true, randomConnection: true,
		Connection: "connection", Provider: "ob-monzo", Scopes: "info accounts",
		bearer: authserver.NewSecret("Bearer " + strings.Repeat("access", 250)), refreshToken: authserver.NewSecret("refresh"),
	}
}

func sealedRecord(t *testing.T, b *body, l *Label, secret *Secret) []byte {
	t.Helper()
	record, err := b.seal(l, secret, siteDigest("app.example.com/truelayer"), "client", b.TokenExpires)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// TestKeptInARecord: what is kept comes back, and a record without it is one from before
// there was any.
func TestKeptInARecord(t *testing.T) {
	l, secret, want := NewLabel("a", "b"), NewSecret(), testBody()
	want.Kept = "the bank's word"
	record := sealedRecord(t, want, &l, &secret)
	got, err := open(record, &l, &secret, l.SessionID(&secret))
	if err != nil || got.Kept != want.Kept || bytes.Contains(record, []byte(want.Kept)) {
		t.Errorf("%q, %v", got.Kept, err)
	}
	if _, err := readBody(sealed.AppendText(testBody().append(nil), "")); err == nil {
		t.Error("nothing has two encodings")
	}
}

func TestRecord(t *testing.T) {
	l, secret, want := NewLabel("a", "b"), NewSecret(), testBody()
	record := sealedRecord(t, want, &l, &secret)
	got, err := open(record, &l, &secret, l.SessionID(&secret))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Error("another session came back")
	}
	if again := sealedRecord(t, want, &l, &secret); bytes.Equal(again, record) {
		t.Error("two seals are the same")
	}
	for _, hidden := range []string{"access", "refresh", "connection", "accounts"} {
		if bytes.Contains(record, []byte(hidden)) {
			t.Errorf("%s can be read in the record", hidden)
		}
	}
}

// TestRecordRefused: every bit counts, and so do id, label and secret.
func TestRecordRefused(t *testing.T) {
	l, secret := NewLabel("a", "b"), NewSecret()
	id := l.SessionID(&secret)
	record := sealedRecord(t, testBody(), &l, &secret)
	for i := range record {
		for bit := range 8 {
			flipped := bytes.Clone(record)
			flipped[i] ^= 1 << bit
			if _, err := open(flipped, &l, &secret, id); err == nil {
				t.Fatalf("opened with bit %d of byte %d flipped", bit, i)
			}
		}
	}
	for n := range record {
		if _, err := open(record[:n], &l, &secret, id); err == nil {
			t.Fatalf("opened when cut to %d bytes", n)
		}
	}
	otherLabel, otherSecret := NewLabel("ab"), NewSecret()
	if _, err := open(record, &l, &secret, l.SessionID(&otherSecret)); err == nil {
		t.Error("opened under another id")
	}
	if _, err := open(record, &l, &otherSecret, id); err == nil {
		t.Error("opened with another secret")
	}
	if _, err := open(record, &otherLabel, &secret, id); err == nil {
		t.Error("opened with another label")
	}
	if otherLabel.SessionID(&secret) == id {
		t.Error("two labels give one id")
	}
	if _, err := open(headerRecord(kindClaim, "client", time.Now(), time.Now()), &l, &secret, id); err == nil {
		t.Error("opened a claim")
	}
}

// writtenStore is a store that somebody has written into: it has one record,
// whatever is asked for.
type writtenStore struct {
	Store
	record []byte
}

func (s *writtenStore) Get(context.Context, string) ([]byte, error) { return s.record, nil }

// TestRecordBits: who writes into the store can make sessions go away, and
// nothing else. A record with any bit changed, and one of another session,
// block or version, is none, with one line in the log for the operator and no
// secret in it (CVE-2023-35941 alias GHSA-7mhv-gr67-hq55, where what was
// authenticated could be read in two ways; CVE-2026-47775 alias
// GHSA-396h-jpq4-vc7p, where it was not authenticated).
func TestRecordBits(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	store := new(writtenStore)
	managers := make(map[string]*Manager)
	for _, what := range []string{"block", "nothing"} {
		b := newBench(t)
		b.Logger, b.Store, b.Label = zap.New(core), store, NewLabel(what)
		managers[what] = b.Manager
	}
	h, secret, other := managers["nothing"], NewSecret(), NewSecret()
	now := time.Unix(1_800_000_000, 0)
	s := testBody()
	s.setAccessToken(authserver.NewSecret("access-hunter2"))
	s.refreshToken = authserver.NewSecret("refresh-hunter2")
	s.Provider, s.Connection, s.Scopes, s.consentOver = "ob", "connection-hunter2", "info", false
	record := sealedRecord(t, s, &h.Label, &secret)
	hidden := []string{"hunter2", base64.RawURLEncoding.EncodeToString(secret[:]), fmt.Sprintf("%x", secret), fmt.Sprint(secret), string(secret[:]), h.Label.SessionID(&secret)}

	refused := func(what string, h *Manager, record []byte, secret *Secret) {
		t.Helper()
		store.record = record
		if got, err := h.load(t.Context(), secret, now); got != nil || err != nil {
			t.Errorf("%s: %v, error %v", what, got, err)
		}
		lines := logs.TakeAll()
		if len(lines) != 1 || lines[0].Level != zapcore.ErrorLevel {
			t.Errorf("%s: log %v", what, lines)
		}
		for _, line := range lines {
			text := fmt.Sprint(line.Message, line.ContextMap())
			for _, secret := range hidden {
				if strings.Contains(text, secret) {
					t.Errorf("%s: a secret is in the log: %q", what, text)
				}
			}
		}
	}
	opened := func(record []byte) {
		t.Helper()
		store.record = record
		if got, err := h.load(t.Context(), &secret, now); got == nil || err != nil || logs.Len() > 0 {
			t.Fatalf("not opened: %v, error %v, log %v", got, err, logs.TakeAll())
		}
	}
	opened(record)
	for i := range record {
		for bit := range 8 {
			changed := bytes.Clone(record)
			changed[i] ^= 1 << bit
			refused(fmt.Sprintf("bit %d of byte %d", bit, i), h, changed, &secret)
		}
		refused(fmt.Sprintf("%d bytes", i), h, record[:i], &secret)
	}
	for version := range 256 {
		if version != recordVersion {
			refused(fmt.Sprintf("version %d", version), h, append([]byte{byte(version)}, record[1:]...), &secret)
		}
	}
	refused("a byte more", h, append(bytes.Clone(record), 0), &secret)
	refused("twice", h, append(bytes.Clone(record), record...), &secret)
	refused("nothing", h, nil, &secret)
	refused("zeros", h, make([]byte, len(record)), &secret)
	refused("a claim", h, headerRecord(kindClaim, "client", now, now.Add(time.Hour)), &secret)

	// the same session under a later header, whose times decide nothing anyhow
	later, err := s.seal(&h.Label, &secret, siteDigest("a"), "client", now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	opened(later)
	header, _, err := splitRecord(later, kindSession)
	if err != nil {
		t.Fatal(err)
	}
	refused("another record's header", h, append(bytes.Clone(header), record[len(header):]...), &secret)

	// records that are good, in another place
	refused("another session's id", h, record, &other)
	refused("another session's record", h, sealedRecord(t, s, &h.Label, &other), &secret)
	for what, another := range managers {
		if another != h {
			refused("another "+what, another, record, &secret)
			refused("a record for another "+what, h, sealedRecord(t, s, &another.Label, &secret), &secret)
		}
	}
	opened(record)
}

// TestRecordOfAnotherRelease: an operator who has upgraded, or gone back, reads why visitors
// log in again.
func TestRecordOfAnotherRelease(t *testing.T) {
	l, secret := NewLabel("a"), NewSecret()
	record := sealedRecord(t, testBody(), &l, &secret)
	for _, version := range []byte{1, recordVersion + 1} {
		record[0] = version
		_, err := open(record, &l, &secret, l.SessionID(&secret))
		if want := fmt.Sprintf("version %d, and this release of the module reads version %d;", version, recordVersion); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestRecordTooLarge(t *testing.T) {
	l, secret, s := NewLabel(), NewSecret(), testBody()
	s.setAccessToken(authserver.NewSecret(strings.Repeat("a", 60_000)))
	s.refreshToken = authserver.NewSecret(strings.Repeat("r", 10_000))
	if _, err := s.seal(&l, &secret, Digest{}, "client", s.TokenExpires); err == nil {
		t.Error("sealed more than stores keep")
	}
	// what is too large is not looked into, whoever sealed it
	header := (&header{clientID: "client"}).append([]byte{recordVersion, kindSession})
	nonce := make([]byte, sealed.NonceSize)
	id := l.SessionID(&secret)
	record := l.aead(&secret).Seal(append(header, nonce...), nonce, s.append(nil), append(slices.Clip(header), id...))
	if _, err := open(record, &l, &secret, id); !errors.Is(err, errBadRecord) {
		t.Errorf("%d bytes were opened: %v", len(record), err)
	}
}

func FuzzRecord(f *testing.F) {
	l, secret := NewLabel("a"), Secret{1}
	id, want := l.SessionID(&secret), testBody()
	record, err := want.seal(&l, &secret, Digest{}, "client", want.TokenExpires)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add([]byte{recordVersion, kindSession, 0xff, 0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		// the seeds are sealed anew in each fuzzing process, so contents are compared
		if s, err := open(b, &l, &secret, id); err == nil && !reflect.DeepEqual(&s, want) {
			t.Error("a forged record was opened")
		}
	})
}

// FuzzBody reads what only a seal under the visitor's own key can hold.
func FuzzBody(f *testing.F) {
	f.Add(testBody().append(nil))
	keeps := testBody()
	keeps.Kept = "kept"
	f.Add(keeps.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readBody(b); err == nil && !bytes.Equal(s.append(nil), b) {
			t.Error("a body was read that is written in another way")
		}
	})
}
