package redisstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/redisserver"
)

// rights are the ones of Redis's access control lists that docs/scaling.md
// says are enough.
const rights = "~truelayer:* +get +set +del +exists +pttl +pexpire +eval +scan +multi +exec +ping +hello +select +client +role +cluster +asking"

// restrict lets the user caddy with the password hunter2 do no more.
func restrict(servers ...*redisserver.Server) {
	for _, redis := range servers {
		redis.Must("+OK", append([]string{"ACL", "SETUSER", "caddy", "on", ">hunter2"}, strings.Fields(rights)...)...)
	}
}

// pair is a certificate that signs itself, and its key, in PEM.
type pair struct{ certificate, key string }

func certificate(t *testing.T, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}
}

// TestSecured: TLS with certificates of both sides, a user with a password and
// no more rights than the documentation says, and another database.
func TestSecured(t *testing.T) {
	if text, err := os.ReadFile("../docs/scaling.md"); err != nil || !strings.Contains(string(text), rights+"\n") {
		t.Errorf("docs/scaling.md says something else about the rights; %v", err)
	}
	folder := t.TempDir()
	for name, p := range map[string]pair{"server": certificate(t, "redis.test"), "client": certificate(t, "client")} {
		for suffix, text := range map[string]string{".pem": p.certificate, ".key": p.key} {
			if err := os.WriteFile(filepath.Join(folder, name+suffix), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	redis := redisserver.Start(t,
		"--tls-cert-file", folder+"/server.pem", "--tls-key-file", folder+"/server.key",
		"--tls-ca-cert-file", folder+"/client.pem", "--tls-auth-clients", "yes")
	address := ""
	for range 20 {
		port, err := loopback.Port()
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := redis.Do("CONFIG", "SET", "tls-port", fmt.Sprint(port)); err == nil && answer == "+OK" {
			address = fmt.Sprintf("127.0.0.1:%d", port)
			break
		}
	}
	restrict(redis)
	t.Setenv("TEST_REDIS_PASSWORD", "hunter2")
	secured := func() *Store {
		return &Store{
			Address: []string{address}, Username: "caddy", Password: new("{env.TEST_REDIS_PASSWORD}"), Database: 3,
			TLS: &TLS{CA: folder + "/server.pem", Certificate: folder + "/client.pem", Key: folder + "/client.key", ServerName: "redis.test"},
		}
	}
	s := open(t, secured())
	if err := s.Create(t.Context(), "id", []byte("record"), time.Hour); err != nil {
		t.Fatal(err)
	}
	wantBack(t, s, "id") // reads and replaces
	unlock, err := s.Lock(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if ids, _, err := s.List(t.Context(), "", 10); err != nil || len(ids) != 1 {
		t.Errorf("listing: %q %v", ids, err)
	}
	if err := s.Delete(t.Context(), "id"); err != nil {
		t.Error(err)
	}

	for what, change := range map[string]func(*Store){
		"a wrong password":         func(s *Store) { s.Password = new("hunter3") },
		"a server of another name": func(s *Store) { s.TLS.ServerName = "" },
		"an unknown authority":     func(s *Store) { s.TLS.CA = folder + "/client.pem" },
		"no client certificate":    func(s *Store) { s.TLS.Certificate, s.TLS.Key = "", "" },
		"no TLS":                   func(s *Store) { s.TLS = nil; s.Timeout = caddy.Duration(200 * time.Millisecond) },
	} {
		wrong := secured()
		change(wrong)
		if err := open(t, wrong).Create(t.Context(), "other", []byte("record"), time.Hour); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}
