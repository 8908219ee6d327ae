package integration

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestUntrustedAuthServer: without a TLS connection to the auth server itself
// nothing is sent, and its keys count for nothing.
func TestUntrustedAuthServer(t *testing.T) {
	var reached atomic.Int64
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	secure := func(configure func(*tls.Config)) string {
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // the handshakes fail on purpose
		server.TLS = new(tls.Config)
		configure(server.TLS)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	untrusted := secure(func(*tls.Config) {})
	without := httptest.NewServer(handler)
	t.Cleanup(without.Close)
	for name, test := range map[string]struct{ base, remedy string }{
		"signed by nobody":     {untrusted, "certificate signed by unknown authority"},
		"for another name":     {strings.Replace(untrusted, "127.0.0.1", "localhost", 1), "certificate"},
		"an old version":       {secure(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }), "protocol version"},
		"no TLS at all":        {strings.Replace(without.URL, "http:", "https:", 1), "server gave HTTP response to HTTPS client"},
		"another protocol":     {"https://" + listen(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "220 mail ESMTP\r\n") }), "tls: first record does not look like a TLS handshake"},
		"hanging up":           {"https://" + listen(t, func(net.Conn) {}), ""},
		"nobody":               {"https://" + nobody(t), "connection refused"},
		"nobody, without TLS":  {"http://" + nobody(t), "connection refused"},
		"a reset, without TLS": {"http://" + listen(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }), ""},
	} {
		t.Run("token endpoint/"+name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.AuthServer = test.base })
			w.loginFails(t, uncounted(), http.StatusBadGateway, "auth_server_unavailable")
			if !strings.Contains(w.log.text(t), test.remedy) {
				t.Errorf("the log does not say %q", test.remedy)
			}
		})
		t.Run("key set/"+name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Options = "verify_access_token " + test.base + keySetPath })
			w.loginFails(t, func() int { return w.sim.Calls(simulator.Token) }, http.StatusServiceUnavailable, "token_unverified")
		})
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests came through", n)
	}
}

// uncounted stands for the calls of a server that cannot count them.
func uncounted() func() int {
	n := -1
	return func() int { n++; return n }
}

// listen returns the address of a server that deals with connections, not
// requests. What the client says first it has read.
func listen(t *testing.T, deal func(net.Conn)) string {
	t.Helper()
	return loopback.Serve(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 64<<10))
		deal(conn)
	})
}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}
