package truelayer

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

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
	if _, err := openSession(claimRecord("client", time.Now(), time.Now()), &l, &secret, id); err == nil {
		t.Error("opened a claim")
	}
}

func TestRecordTooLarge(t *testing.T) {
	l, secret, s := newLabel(), newCookieSecret(), testSession()
	s.setToken(authserver.NewSecret(strings.Repeat("a", 60_000)))
	s.refreshToken = authserver.NewSecret(strings.Repeat("r", 10_000))
	if _, err := s.seal(&l, &secret, "client", s.tokenExpires); err == nil {
		t.Error("sealed more than stores keep")
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
