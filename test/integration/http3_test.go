package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// overTLS is plain with a certificate of Caddy's own authority, and so with
// HTTP/2 and HTTP/3.
var overTLS = strings.NewReplacer(
	"admin off", "admin off\n\tskip_install_trust\n\tauto_https disable_redirects",
	"http://localhost:{{.Port}} {", "https://localhost:{{.Port}} {\n\ttls internal",
).Replace(plain)

// quicWorld is a world in which browsers speak HTTP/3.
type quicWorld struct {
	*world
	address string
	tls     *tls.Config
}

func startQUIC(t *testing.T, set func(*world)) *quicWorld {
	t.Helper()
	return startQUICWith(t, overTLS, set)
}

func startQUICWith(t *testing.T, caddyfile string, set func(*world)) *quicWorld {
	t.Helper()
	q := &quicWorld{tls: &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: "localhost", NextProtos: []string{http3.NextProtoH3},
		RootCAs: x509.NewCertPool(), ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}}
	q.world = start(t, caddyfile, func(w *world) {
		w.Site = strings.Replace(w.Site, "http:", "https:", 1)
		if set != nil {
			set(w)
		}
	})
	q.address = fmt.Sprintf("localhost:%d", q.Port)
	root, err := os.ReadFile(q.Data + "/pki/authorities/local/root.crt")
	if err != nil || !q.tls.RootCAs.AppendCertsFromPEM(root) {
		t.Fatalf("the authority's certificate cannot be read: %v", err)
	}
	waitUntil(t, "the site's certificate", func() bool {
		conn, err := tls.Dial("tcp", q.address, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: q.tls.RootCAs})
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	network := q.http3()
	t.Cleanup(func() { _ = network.Close() })
	q.secrets.network = network
	return q
}

// http3 returns a client's side of HTTP/3. It waits for the handshake: quic-go's own way
// sends before that, and reads what the handshake writes meanwhile.
func (q *quicWorld) http3() *http3.Transport {
	return &http3.Transport{
		TLSClientConfig: q.tls,
		Dial: func(ctx context.Context, address string, config *tls.Config, options *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, address, config, options)
		},
	}
}

// callbacks counts those that Caddy has answered.
func (w *world) callbacks(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(w.Data + "/access.log")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), `"uri":"/truelayer?`)
}

// TestReplayedEarlyData: whoever has seen the datagrams of a callback in early
// data can send them again, from anywhere, and Caddy takes them for another
// callback (RFC 8446 section 8). The code is still sent once, and there is one
// session, the browser's.
func TestReplayedEarlyData(t *testing.T) {
	q := startQUIC(t, func(w *world) { w.Options = "store counted" })
	b := q.browser()
	callback := q.approve(b, q.Site+"/page")
	waitUntil(t, "a session ticket", func() bool {
		_, ok := q.tls.ClientSessionCache.Get("localhost")
		return ok
	})
	relay := newRelay(t, q.address)
	created := storeCreates.Load()

	conn, err := quic.DialAddrEarly(t.Context(), relay.address(), q.tls, nil)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http3.MethodGet0RTT, callback, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(asNavigation); i += 2 {
		req.Header.Add(asNavigation[i], asNavigation[i+1])
	}
	req.Header.Set("Cookie", b.cookies(q.Site))
	answered := make(chan error, 1)
	go func() {
		resp, err := new(http3.Transport).NewClientConn(conn).RoundTrip(req)
		if err == nil {
			q.secrets.learn(resp)
			b.client.Jar.SetCookies(req.URL, resp.Cookies())
			equal(t, "status", resp.StatusCode, http.StatusSeeOther)
			err = resp.Body.Close()
		}
		answered <- err
	}()
	// nothing of Caddy's has come through by then: the callback is in early data
	waitUntil(t, "the token request", func() bool { return q.sim.Calls(simulator.Token) == 1 })
	relay.open()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	equal(t, "early data was used", conn.ConnectionState().Used0RTT, true)
	_ = conn.CloseWithError(0, "")
	waitUntil(t, "the callback in the log", func() bool { return q.callbacks(t) == 1 })
	written := storeCreates.Load() - created // the claim and the session

	// the connection has to be forgotten first, or they would be late datagrams of it
	again := relay.elsewhere(t)
	waitUntil(t, "the callback again", func() bool {
		again()
		return q.callbacks(t) > 1
	})
	equal(t, "page", b.navigate(q.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "token requests", q.sim.Calls(simulator.Token), 1)
	equal(t, "records, with a claim", written, 2)
	equal(t, "records afterwards", storeCreates.Load()-created, written)
}

// TestExtendedConnect: HTTP/3 opens WebSockets by a CONNECT (RFC 9220), which
// another origin's page is refused like an upgrade.
func TestExtendedConnect(t *testing.T) {
	q := startQUIC(t, func(w *world) { w.Options = "allow_origins " + friend })
	q.app.answer(switchProtocols)
	b := q.signedIn()
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"our own page":           {[]string{"Origin", q.Site}, 200},
		"a friend":               {[]string{"Origin", friend}, 200},
		"a program":              {nil, 200},
		"another site":           {[]string{"Origin", "https://evil.example.com"}, 403},
		"a sibling":              {[]string{"Origin", "https://evil.example.com", "Sec-Fetch-Site", "same-site"}, 403},
		"another site hides it":  {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a sandboxed frame":      {[]string{"Origin", "null"}, 403},
		"our host, without TLS":  {[]string{"Origin", strings.Replace(q.Site, "https:", "http:", 1)}, 403},
		"our host, another port": {[]string{"Origin", fmt.Sprintf("https://localhost:%d", q.Port2)}, 403},
		"two origins":            {[]string{"Origin", q.Site, "Origin", "https://evil.example.com"}, 403},
	} {
		before, _ := q.app.requests()
		equal(t, name, q.connect(t, b, test.header...), test.want)
		after, got := q.app.requests()
		equal(t, name+": requests upstream", after-before, map[bool]int{true: 1, false: 0}[test.want == 200])
		if test.want == 200 && after > before && !strings.HasPrefix(got.Header.Get("Authorization"), "Bearer ey") {
			t.Errorf("%s: no token in %v", name, got.Header)
		}
	}
	equal(t, "without a session", q.connect(t, q.browser()), http.StatusUnauthorized)
}

// connect asks for a WebSocket with the browser's cookies, and returns the
// answer's status.
func (q *quicWorld) connect(t *testing.T, b *browser, header ...string) int {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), q.address, q.tls, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	client := new(http3.Transport).NewClientConn(conn)
	<-client.ReceivedSettings()
	if !client.Settings().EnableExtendedConnect {
		t.Fatal("Caddy does not offer it")
	}
	stream, err := client.OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := &http.Request{
		Method: http.MethodConnect, Proto: "websocket", Host: q.address,
		URL: &url.URL{Scheme: "https", Host: q.address, Path: "/socket"}, Header: http.Header{"Sec-Websocket-Version": {"13"}},
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if cookies := b.cookies(q.Site); cookies != "" {
		req.Header.Set("Cookie", cookies)
	}
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	q.secrets.learn(resp)
	return resp.StatusCode
}
