package browser

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// Two sites as far apart as the real ones. Their names stand for addresses of
// this machine: for Chromium by a rule, for Caddy by a proxy that it is told of
// in HTTPS_PROXY, as behind a company's firewall.
const (
	appName  = "app.bank-login-test.example"
	authName = "auth.simulated-truelayer.test"
)

const httpsCaddyfile = `{
	admin off
	persist_config off
	auto_https disable_redirects
	default_bind 127.0.0.1
	https_port %[1]d
	servers {
		protocols h1 h2
	}
}
https://` + appName + ` {
	tls %[2]s %[2]s
	@account path /account /account/*
	truelayer @account {
		client_id           ` + clientID + `
		client_secret       {env.TEST_CLIENT_SECRET}
		redirect_uri        https://` + appName + `/truelayer
		auth_server         https://` + authName + `
		verify_access_token https://` + authName + `/.well-known/openid-configuration/jwks
	}
	reverse_proxy %[3]s
}
`

// TestHTTPSWithOtherNames is a login as it is on the internet: https, the standard port, and
// a return from another site, to which browsers bring few cookies along.
func TestHTTPSWithOtherNames(t *testing.T) {
	app, auth := newCertificate(t, appName), newCertificate(t, authName)
	sim := newSimulator(t, "https://"+appName+"/truelayer")
	bank := serveTLS(t, sim, auth)
	port := freePort(t)
	startCaddy(t, port, app, auth, serve(t, forward(authName+":443", bank)))

	tab := startBrowser(t,
		chromedp.Flag("host-resolver-rules", fmt.Sprintf("MAP %s 127.0.0.1:%d, MAP %s %s", appName, port, authName, bank)),
		chromedp.Flag("ignore-certificate-errors-spki-list", app.digest+","+auth.digest),
	).tab()
	tab.open("https://" + appName)
	tab.sees("Home")
	tab.click("My account")
	tab.connects()
	tab.sees("My account")

	equal(t, "the address", tab.address(), "https://"+appName+"/account")
	equal(t, "exchanges", sim.CallsGrant("authorization_code"), 1)
	equal(t, "fetches of the keys", sim.Calls(simulator.JWKS), 1)
	cameBack(t, tab)
	equal(t, "cookies at the application", tab.text("#cookies"), "")
	equal(t, "document.cookie", tab.script("document.cookie"), "")
	keepsNoSecret(t, tab, sim)
}

// cameBack looks at how the callback was asked for and at the session cookie.
func cameBack(t *testing.T, tab *tab) {
	t.Helper()
	callback := tab.asked("https://" + appName + "/truelayer?code=")
	if len(callback) != 1 {
		t.Fatalf("the callback was asked for %d times", len(callback))
	}
	header := tab.sent(callback[0])
	equal[any](t, "Sec-Fetch-Site of the callback", header["sec-fetch-site"], "cross-site")
	if got, _ := header["cookie"].(string); !strings.HasPrefix(got, "__Host-truelayer-") || !strings.Contains(got, "-login-") {
		t.Errorf("Cookie of the callback: %q", got)
	}
	for name, cookie := range tab.cookies("https://" + appName) {
		if !strings.HasPrefix(name, "__Host-truelayer-") {
			t.Errorf("cookie %s", name)
		}
		if !cookie.Secure || !cookie.HTTPOnly || cookie.SameSite != network.CookieSameSiteLax || cookie.Domain != appName {
			t.Errorf("cookie %s: Secure %t, HttpOnly %t, SameSite %q, Domain %q",
				name, cookie.Secure, cookie.HTTPOnly, cookie.SameSite, cookie.Domain)
		}
	}
}

// keepsNoSecret looks for the simulator's secrets in what the browser holds.
func keepsNoSecret(t *testing.T, tab *tab, sim *simulator.Simulator) {
	t.Helper()
	held := tab.script("document.documentElement.outerHTML + JSON.stringify([localStorage, sessionStorage, history.state])")
	for _, cookie := range tab.cookies("https://" + appName) {
		held += cookie.Value + "\n"
	}
	for _, entry := range tab.history().Entries {
		held += entry.URL + "\n"
	}
	secrets := sim.Secrets()
	if len(secrets) < 4 {
		t.Fatalf("only %d secrets are known", len(secrets))
	}
	for _, secret := range secrets {
		if strings.Contains(held, secret) {
			t.Errorf("the browser holds the secret %.8s…", secret)
		}
	}
}

// startCaddy runs Caddy as a program of its own: Go reads HTTPS_PROXY and
// SSL_CERT_FILE once in the life of a process.
func startCaddy(t *testing.T, port int, app, auth *certificate, proxy string) {
	t.Helper()
	config := t.TempDir() + "/Caddyfile"
	text := fmt.Sprintf(httpsCaddyfile, port, app.file, strings.TrimPrefix(serve(t, application(nil)), "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startProgram(t, "./examples/caddy", "serving initial configuration", []string{
		"HTTPS_PROXY=" + proxy,
		"SSL_CERT_FILE=" + auth.file,
		"TEST_CLIENT_SECRET=" + clientSecret,
	}, "run", "--config", config, "--adapter", "caddyfile")
}

func serveTLS(t *testing.T, handler http.Handler, c *certificate) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{c.pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// forward is a proxy that connects to one name and port only, which are at
// another address.
func forward(name, address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != name {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		target, err := new(net.Dialer).DialContext(r.Context(), "tcp", address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer target.Close()
		w.WriteHeader(http.StatusOK)
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		go func() { _, _ = io.Copy(target, buffered) }()
		_, _ = io.Copy(client, target)
	})
}

// certificate is signed by itself.
type certificate struct {
	pair   tls.Certificate
	file   string // certificate and key, PEM
	digest string // of its public key, as Chromium wants it
}

func newCertificate(t *testing.T, name string) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: private})
	c := &certificate{file: t.TempDir() + "/" + name + ".pem"}
	if err := os.WriteFile(c.file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.pair, err = tls.X509KeyPair(text.Bytes(), text.Bytes()); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(public)
	c.digest = base64.StdEncoding.EncodeToString(digest[:])
	return c
}
