package authserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
)

// far is an auth server behind a relay.
type far struct {
	*loopback.Relay
	client *Client
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc] // in place of a token
}

// newFar starts a server that speaks one protocol. A proxy is asked for the
// connections, if there is to be one.
func newFar(t *testing.T, protocol string, proxied bool) *far {
	t.Helper()
	f := new(far)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		if r.Proto != protocol {
			t.Errorf("asked in %s, not %s", r.Proto, protocol)
		}
		if answer := f.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"a","token_type":"bearer","expires_in":60}`)
	}))
	server.EnableHTTP2 = protocol == "HTTP/2.0"
	server.StartTLS()
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	if proxied {
		f.Relay = loopback.NewRelay(t, connector(t, address))
		f.client = testClient("https://auth.example")
	} else {
		f.Relay = loopback.NewRelay(t, address)
		f.client = testClient("https://" + f.Address)
	}
	used := f.client.Server.http.transport.Load()
	if proxied { // which ProxyFromEnvironment looks up once in the life of a process
		used.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: f.Address})
	}
	used.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
	t.Cleanup(f.client.Server.CloseIdleConnections)
	return f
}

// connector is a proxy whose every CONNECT leads to one address.
func connector(t *testing.T, address string) string {
	t.Helper()
	return loopback.Serve(t, func(client net.Conn) {
		_, _ = client.Read(make([]byte, 4<<10)) // the CONNECT
		server, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer server.Close()
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(client, server) }()
		_, _ = io.Copy(server, client)
	})
}

func (f *far) exchange(ctx context.Context) error {
	_, err := f.client.Exchange(ctx, "code", "r", Secret{})
	return err
}

// two opens as many connections as two calls at once need, and returns how many
// there are.
func (f *far) two(t *testing.T) (opened int) {
	t.Helper()
	if err := f.exchange(t.Context()); err != nil { // or both would dial, in HTTP/2 too
		t.Fatal(err)
	}
	var both atomic.Int64
	met := make(chan struct{})
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if both.Add(1) == 2 {
			close(met)
		}
		select {
		case <-met:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, `{"access_token":"a","token_type":"bearer","expires_in":60}`)
	})
	f.answer.Store(&answer)
	first := make(chan error)
	go func() { first <- f.exchange(t.Context()) }()
	if err := errors.Join(f.exchange(t.Context()), <-first); err != nil {
		t.Fatal(err)
	}
	f.answer.Store(nil)
	return f.Opened()
}

// TestForgottenConnections: a call on a connection that something in between has
// forgotten fails, after having been sent once, and the next one dials anew,
// however many such connections there are.
func TestForgottenConnections(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for way, proxied := range map[string]bool{"direct": false, "through a proxy": true} {
			for bound, call := range map[string]func(*far) error{
				"by its context": func(f *far) error {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
					return f.exchange(ctx)
				},
				"by a flight that ends": func(f *far) error {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(100*time.Millisecond, cancel)
					return f.exchange(ctx)
				},
				"by the client": func(f *far) error {
					f.client.Server.http.timeout = 100 * time.Millisecond
					defer func() { f.client.Server.http.timeout = requestTimeout }()
					return f.exchange(t.Context())
				},
			} {
				t.Run(protocol+", "+way+", bound "+bound, func(t *testing.T) {
					t.Parallel()
					f := newFar(t, protocol, proxied)
					opened := f.two(t)
					asked := f.asked.Load()
					f.Forget()
					if err := call(f); err == nil {
						t.Error("an answer came through")
					}
					if err := f.exchange(t.Context()); err != nil {
						t.Errorf("the next call: %v", err)
					}
					if f.Opened() == opened {
						t.Error("nothing was dialled")
					}
					if got := f.asked.Load() - asked; got != 2 {
						t.Errorf("%d requests for 2 calls", got)
					}
				})
			}
		}
	}
}

// TestForgottenInTheBody: the same, where the connection is forgotten in the
// middle of an answer.
func TestForgottenInTheBody(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := newFar(t, protocol, false)
			opened := f.two(t)
			hold := make(chan struct{})
			t.Cleanup(func() { close(hold) })
			answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, `{"access_`)
				_ = http.NewResponseController(w).Flush()
				<-hold
			})
			f.answer.Store(&answer)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := f.exchange(ctx); err == nil {
				t.Error("half an answer was enough")
			}
			f.answer.Store(nil)
			f.Forget()
			if err := f.exchange(t.Context()); err != nil || f.Opened() == opened {
				t.Errorf("%d new connections, %v", f.Opened()-opened, err)
			}
		})
	}
}

// TestOthersOnTheConnection: that one call was given up ends no other on the
// same connection.
func TestOthersOnTheConnection(t *testing.T) {
	t.Parallel()
	f := newFar(t, "HTTP/2.0", false)
	if err := f.exchange(t.Context()); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, `{"access_token":"a","token_type":"bearer","expires_in":60}`)
	})
	f.answer.Store(&answer)
	patient := make(chan error)
	go func() { patient <- f.exchange(t.Context()) }()
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() { impatient <- f.exchange(ctx) }()
	waitUntil(t, "both to be under way", func() bool { return f.asked.Load() == 3 })
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that was given up: %v", err)
	}
	f.answer.Store(nil)
	if err := f.exchange(t.Context()); err != nil || f.Opened() != 2 {
		t.Errorf("the next one: %v; %d connections", err, f.Opened())
	}
	close(hold)
	if err := <-patient; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// TestSilentConnectionIsPinged: an HTTP/2 connection that was forgotten is closed
// before a call needs it.
func TestSilentConnectionIsPinged(t *testing.T) {
	t.Parallel()
	f := newFar(t, "HTTP/2.0", false)
	http2 := f.client.Server.http.transport.Load().HTTP2
	if http2.SendPingTimeout+http2.PingTimeout >= requestTimeout {
		t.Fatalf("pinged after %v, for %v", http2.SendPingTimeout, http2.PingTimeout)
	}
	http2.SendPingTimeout, http2.PingTimeout = 20*time.Millisecond, time.Second
	if err := f.exchange(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Forget()
	waitUntil(t, "the connection to be closed", func() bool { return f.Open() == 0 })
	if err := f.exchange(t.Context()); err != nil || f.Opened() != 2 {
		t.Errorf("%v; %d connections", err, f.Opened())
	}
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for !done() {
		select {
		case <-deadline.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}
