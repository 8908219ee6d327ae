package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// trusted is a certificate for this machine that Caddy trusts.
var trusted tls.Certificate

// trust makes the certificate, and a file in dir that says so: Go reads
// SSL_CERT_FILE once in the life of a process.
func trust(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	trusted = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	file := dir + "/trusted.pem"
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return errors.Join(os.WriteFile(file, text, 0o600), os.Setenv("SSL_CERT_FILE", file))
}

// far is the simulator behind TLS and a relay.
type far struct {
	*loopback.Relay
	base string // its URL

	mu     sync.Mutex
	asked  map[string]int // by path
	meet   chan struct{}  // closed when two have come
	coming int
}

func newFar(t *testing.T, sim http.Handler, http2 bool) *far {
	t.Helper()
	f := &far{asked: make(map[string]int), meet: make(chan struct{})}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.ProtoMajor == 2) != http2 {
			t.Errorf("asked in %s", r.Proto)
		}
		f.arrive(r)
		sim.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = http2
	server.TLS = &tls.Config{Certificates: []tls.Certificate{trusted}}
	server.StartTLS()
	t.Cleanup(server.Close)
	f.Relay = loopback.NewRelay(t, server.Listener.Addr().String())
	f.base = "https://" + f.Address
	return f
}

// arrive counts a request. The first two token requests wait for each other, so
// that there are two connections where a connection takes one request at a time.
func (f *far) arrive(r *http.Request) {
	f.mu.Lock()
	f.asked[r.URL.Path]++
	meets := r.URL.Path == tokenPath && f.coming < 2
	if meets {
		if f.coming++; f.coming == 2 {
			close(f.meet)
		}
	}
	f.mu.Unlock()
	if meets {
		<-f.meet
	}
}

func (f *far) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

// farSite has a login for each way to the auth server, and two more that fetch
// the key set over it.
const farSite = `{
	admin off
	persist_config off
	grace_period 1s
	storage file_system {{.Data}}
}
(login) {
	truelayer /{args[0]} {
		client_id       {{.ClientID}}
		client_secret   {env.TEST_CLIENT_SECRET}
		redirect_uri    {{.Site}}{args[1]}
		scopes          info offline_access
		refresh_timeout 1s
		{block}
	}
}
http://localhost:{{.Port}} {
	{{.Before}}
	reverse_proxy {{.App}}
}
`

// startFar runs Caddy with two far auth servers, in HTTP/1.1 and in HTTP/2.
func startFar(t *testing.T) (w *world, old, current *far) {
	t.Helper()
	w = start(t, farSite, func(w *world) {
		old, current = newFar(t, w.sim, false), newFar(t, w.sim, true)
		w.Before = fmt.Sprintf(`import login http1 /truelayer {
		auth_server %[1]s
	}
	import login http2 /second {
		auth_server %[2]s
	}
	import login keys1 /third {
		auth_server %[3]s
		verify_access_token %[1]s%[4]s
	}
	import login keys2 /bank/truelayer {
		auth_server %[3]s
		verify_access_token %[2]s%[4]s
	}`, old.base, current.base, w.AuthServer, keySetPath)
	})
	return w, old, current
}

// callback opens a page and connects a bank.
func (w *world) callback(b *browser, page string) (string, error) {
	sent, err := b.try(w.t.Context(), http.MethodGet, w.Site+page, asNavigation...)
	if err != nil {
		return "", err
	}
	return w.sim.Grant(sent.location())
}

// arrives logs in, and checks that the browser comes back to the page or is
// told the reason why not. It may be used from any goroutine.
func (w *world) arrives(page, reason string) (b *browser, callback string) {
	b = w.browser()
	callback, err := w.callback(b, page)
	if err != nil {
		w.t.Error(page, err)
		return b, ""
	}
	a, err := b.try(w.t.Context(), http.MethodGet, callback, asNavigation...)
	switch {
	case err != nil:
		w.t.Error(page, err)
	case reason == "" && a.location() != page:
		w.t.Errorf("%s: %d %s %s", page, a.StatusCode, a.location(), a.body)
	case reason != "" && !strings.Contains(a.body, reason):
		w.t.Errorf("%s: want %s, got %d %s", page, reason, a.StatusCode, a.body)
	}
	return b, callback
}

// both logs two browsers in at once.
func (w *world) both(page string) [2]*browser {
	var browsers [2]*browser
	var wg sync.WaitGroup
	for i := range browsers {
		wg.Go(func() { browsers[i], _ = w.arrives(page, "") })
	}
	wg.Wait()
	return browsers
}

// TestForgottenConnection: where something between Caddy and the auth server
// forgets connections, one login at most fails for it. Its code is sent once,
// and the next one comes over a new connection. What ends the one is the bound
// on a call, or in HTTP/2 a ping without an answer; all wait for it at once.
func TestForgottenConnection(t *testing.T) {
	w, old, current := startFar(t)
	w.both("/http1")
	w.both("/http2")
	// a fetch that fails is made again at once, one that succeeds after a minute
	for _, page := range []string{"/keys1", "/keys2"} {
		w.sim.Fail(simulator.JWKS, simulator.Fault{Times: 1, Status: http.StatusServiceUnavailable})
		w.arrives(page, "token_unverified")
	}
	opened := map[*far]int{old: old.Opened(), current: current.Opened()}
	asked := w.sim.Calls(simulator.Token)
	old.Forget()
	current.Forget()
	var wg sync.WaitGroup
	for page, reason := range map[string]string{
		"/http1": "auth_server_unavailable", "/http2": "auth_server_unavailable",
		"/keys1": "token_unverified", "/keys2": "token_unverified",
	} {
		wg.Go(func() {
			b, callback := w.arrives(page, reason)
			if a, err := b.try(t.Context(), http.MethodGet, callback, asNavigation...); err != nil || a.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: a reload: %v %v", page, a, err)
			}
			w.arrives(page, "")
		})
	}
	wg.Wait()
	for f, before := range opened {
		if f.Opened() < before+2 { // for tokens, and for the key set
			t.Errorf("only %d new connections to %s", f.Opened()-before, f.base)
		}
		equal(t, "key sets fetched", f.count(keySetPath), 3)
		equal(t, "token requests", f.count(tokenPath), 4)
	}
	equal(t, "token requests of eight logins", w.sim.Calls(simulator.Token)-asked, 8)
}

// TestForgottenByARefresh: the same for a refresh, which gives up long before a
// ping would. A session whose refresh failed goes on with its next attempt.
func TestForgottenByARefresh(t *testing.T) {
	w, old, current := startFar(t)
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Second })
	browsers := map[string][2]*browser{"/http1": w.both("/http1"), "/http2": w.both("/http2")}
	end := time.Now().Truncate(time.Second).Add(time.Second)
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Hour })
	waitUntil(t, "the tokens to expire", func() bool { return time.Now().After(end) })
	old.Forget()
	current.Forget()
	for page, f := range map[string]*far{"/http1": old, "/http2": current} {
		before, since := f.count(tokenPath), w.log.mark(t)
		w.failsCalmly(t, browsers[page][0].fetch, w.Site+page, http.StatusServiceUnavailable, "token_unavailable")
		waitUntil(t, "the refresh to fail", func() bool {
			return strings.Contains(since(), "refreshing an access token failed")
		})
		equal(t, page+": another session", browsers[page][1].fetch(w.Site+page).StatusCode, http.StatusOK)
		equal(t, page+": refreshes", f.count(tokenPath)-before, 2)
		waitUntil(t, page+": the session to go on", func() bool {
			return browsers[page][0].fetch(w.Site+page).StatusCode == http.StatusOK
		})
	}
}

// TestForgottenWhileIdle: an HTTP/2 connection that nobody uses is found out
// before a login needs it.
func TestForgottenWhileIdle(t *testing.T) {
	w, _, current := startFar(t)
	w.both("/http2")
	current.Forget()
	waitUntil(t, "the connection to be closed", func() bool { return current.Open() == 0 })
	w.arrives("/http2", "")
}
