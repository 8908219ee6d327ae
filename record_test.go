package truelayer

import (
	"bytes"
	"context"
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
)

func testSession() *session {
	at := time.Unix(1_800_000_000, 0)
	return &session{
		created: at, lastSeen: at.Add(time.Minute), tokenIssued: at, tokenExpires: at.Add(time.Hour), consentEnds: at.Add(time.Hour),
		ended: consentExpired, told: true,
		connection: "connection", provider: "ob-monzo", scopes: "info accounts",
		bearer: authserver.NewSecret("Bearer " + strings.Repeat("access", 250)), refreshToken: authserver.NewSecret("refresh"),
	}
}

func sealed(t *testing.T, s *session, l *label, secret *cookieSecret) []byte {
	t.Helper()
	record, err := s.seal(l, secret, "client", s.tokenExpires)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestRecord(t *testing.T) {
	l, secret, want := newLabel("a", "b"), newCookieSecret(), testSession()
	record := sealed(t, want, &l, &secret)
	got, err := openSession(record, &l, &secret, l.sessionID(&secret))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Error("another session came back")
	}
	if again := sealed(t, want, &l, &secret); bytes.Equal(again, record) {
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
	l, secret := newLabel("a", "b"), newCookieSecret()
	id := l.sessionID(&secret)
	record := sealed(t, testSession(), &l, &secret)
	for i := range record {
		for bit := range 8 {
			flipped := bytes.Clone(record)
			flipped[i] ^= 1 << bit
			if _, err := openSession(flipped, &l, &secret, id); err == nil {
				t.Fatalf("opened with bit %d of byte %d flipped", bit, i)
			}
		}
	}
	for n := range record {
		if _, err := openSession(record[:n], &l, &secret, id); err == nil {
			t.Fatalf("opened when cut to %d bytes", n)
		}
	}
	otherLabel, otherSecret := newLabel("ab"), newCookieSecret()
	if _, err := openSession(record, &l, &secret, l.sessionID(&otherSecret)); err == nil {
		t.Error("opened under another id")
	}
	if _, err := openSession(record, &l, &otherSecret, id); err == nil {
		t.Error("opened with another secret")
	}
	if _, err := openSession(record, &otherLabel, &secret, id); err == nil {
		t.Error("opened with another label")
	}
	if otherLabel.sessionID(&secret) == id {
		t.Error("two labels give one id")
	}
	if _, err := openSession(headerRecord(kindClaim, "client", time.Now(), time.Now()), &l, &secret, id); err == nil {
		t.Error("opened a claim")
	}
}

// writtenStore is a store that somebody has written into: it has one record,
// whatever is asked for.
type writtenStore struct {
	TokenStore
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
	change := map[string]func(*Handler){
		"client":      func(h *Handler) { h.ClientID = "client2" },
		"auth server": func(h *Handler) { h.AuthServer = "https://auth.example.com" },
		"scopes":      func(h *Handler) { h.Scopes = []string{"info"} },
		"provider":    func(h *Handler) { h.ProviderID = "ob-monzo" },
		"nothing":     func(*Handler) {},
	}
	core, logs := observer.New(zapcore.DebugLevel)
	handlers := make(map[string]*Handler)
	store := new(writtenStore)
	for what, change := range change {
		h := provision(t, change)
		h.logger, h.store = zap.New(core), store
		handlers[what] = h
	}
	h, secret, other := handlers["nothing"], newCookieSecret(), newCookieSecret()
	now := time.Unix(1_800_000_000, 0)
	s := testSession()
	s.setToken(authserver.NewSecret("access-hunter2"))
	s.refreshToken = authserver.NewSecret("refresh-hunter2")
	s.provider, s.connection, s.scopes, s.ended = "ob", "connection-hunter2", "info", ""
	record := sealed(t, s, &h.label, &secret)
	hidden := []string{"hunter2", cookieEncoding.EncodeToString(secret[:]), fmt.Sprintf("%x", secret), fmt.Sprint(secret), string(secret[:]), h.label.sessionID(&secret)}

	refused := func(what string, h *Handler, record []byte, secret *cookieSecret) {
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
	later, err := s.seal(&h.label, &secret, "client", now.Add(24*time.Hour))
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
	refused("another session's record", h, sealed(t, s, &h.label, &other), &secret)
	for what, another := range handlers {
		if another != h {
			refused("another "+what, another, record, &secret)
			refused("a record for another "+what, h, sealed(t, s, &another.label, &secret), &secret)
		}
	}
	opened(record)
}

func TestRecordTooLarge(t *testing.T) {
	l, secret, s := newLabel(), newCookieSecret(), testSession()
	s.setToken(authserver.NewSecret(strings.Repeat("a", 60_000)))
	s.refreshToken = authserver.NewSecret(strings.Repeat("r", 10_000))
	if _, err := s.seal(&l, &secret, "client", s.tokenExpires); err == nil {
		t.Error("sealed more than stores keep")
	}
	// what is too large is not looked into, whoever sealed it
	header := appendHeader([]byte{recordVersion, kindSession}, "client", s.provider, s.created, s.lastSeen, s.tokenExpires)
	nonce := make([]byte, nonceSize)
	id := l.sessionID(&secret)
	record := l.aead(&secret).Seal(append(header, nonce...), nonce, s.appendBody(nil), append(slices.Clip(header), id...))
	if _, err := openSession(record, &l, &secret, id); !errors.Is(err, errBadRecord) {
		t.Errorf("%d bytes were opened: %v", len(record), err)
	}
}

func FuzzRecord(f *testing.F) {
	l, secret := newLabel("a"), cookieSecret{1}
	id, want := l.sessionID(&secret), testSession()
	record, err := want.seal(&l, &secret, "client", want.tokenExpires)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add([]byte{recordVersion, kindSession, 0xff, 0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		// the seeds are sealed anew in each fuzzing process, so contents are compared
		if s, err := openSession(b, &l, &secret, id); err == nil && !reflect.DeepEqual(&s, want) {
			t.Error("a forged record was opened")
		}
	})
}

// FuzzBody reads what only a seal under the visitor's own key can hold.
func FuzzBody(f *testing.F) {
	f.Add(testSession().appendBody(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readBody(b); err == nil && !bytes.Equal(s.appendBody(nil), b) {
			t.Error("a body was read that is written in another way")
		}
	})
}
