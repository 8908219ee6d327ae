package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// streamsOver is overTLS with an admin endpoint, and with what other handlers do to a
// response.
var streamsOver = strings.Replace(overTLS, "admin off", "admin localhost:{{.Port2}}", 1)

// streams are the application's side of the streams.
type streams struct {
	left func(path string) bool // whether one has ended
	next chan struct{}          // closed when the silent ones have something to say
}

// startStreams starts a site whose application streams events: one now and then, or only
// the first.
func startStreams(t *testing.T, options string) (*quicWorld, *streams) {
	t.Helper()
	var q *quicWorld
	s := &streams{next: make(chan struct{})}
	q = startQUICWith(t, streamsOver, func(w *world) {
		w.Options = "scopes verification offline_access\n" + options
		w.After = "encode gzip\n\theader -X-Powered-By"
	})
	gone := make(chan string, 100)
	seen := make(map[string]bool)
	q.app.answer(func(rw http.ResponseWriter, r *http.Request) {
		defer func() { gone <- r.URL.Path }()
		if r.Header.Get("Upgrade") != "" {
			echo(rw)
			return
		}
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := 0; r.Context().Err() == nil; i++ {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			_ = http.NewResponseController(rw).Flush()
			if strings.HasSuffix(r.URL.Path, "/silent") {
				select {
				case <-s.next:
				case <-r.Context().Done():
				}
			}
			timer := time.NewTimer(20 * time.Millisecond)
			select {
			case <-timer.C:
			case <-r.Context().Done():
			}
			timer.Stop()
		}
	})
	s.left = func(path string) bool {
		for {
			select {
			case p := <-gone:
				seen[p] = true
			default:
				return seen[path]
			}
		}
	}
	return q, s
}

// echo switches protocols and sends back what comes.
func echo(rw http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = buffered.Flush()
	_, _ = io.Copy(conn, buffered)
}

// opened is a stream that a browser has open.
type opened struct {
	name  string
	path  string
	ended chan error // when the browser has noticed
	read  atomic.Int64
}

// drain reads to the end.
func (o *opened) drain(from io.Reader) {
	buffer := make([]byte, 1<<10)
	for {
		n, err := from.Read(buffer)
		o.read.Add(int64(n))
		if err != nil {
			o.ended <- err
			return
		}
	}
}

// openEvents opens an event stream over a transport and waits for its first event.
func (q *quicWorld) openEvents(t *testing.T, b *browser, name, path string, transport http.RoundTripper) *opened {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, q.Site+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("Cookie", b.cookies(q.Site))
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(name, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", name, resp.StatusCode)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(name, err)
	}
	o := &opened{name: name, path: path, ended: make(chan error, 1)}
	go o.drain(resp.Body)
	return o
}

// openWebSocket opens a WebSocket over HTTP/1.1 and waits for its echo.
func (q *quicWorld) openWebSocket(t *testing.T, b *browser, name, path string) *opened {
	t.Helper()
	conn, err := tls.Dial("tcp", q.address, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: q.tls.RootCAs, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: %s\r\n\r\n", path, q.address, b.cookies(q.Site))
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(name, resp, err)
	}
	_ = resp.Body.Close()
	return q.echoes(t, name, path, conn, reader)
}

// openConnect opens a WebSocket over HTTP/3 and waits for its echo.
func (q *quicWorld) openConnect(t *testing.T, b *browser, name, path string) *opened {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), q.address, q.tls, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	client := new(http3.Transport).NewClientConn(conn)
	<-client.ReceivedSettings()
	stream, err := client.OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, q.Site+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Proto = "websocket"
	req.Header.Set("Cookie", b.cookies(q.Site))
	req.Header.Set("Sec-Websocket-Version", "13")
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.ReadResponse()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(name, resp, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return q.echoes(t, name, path, stream, bufio.NewReader(stream))
}

func (q *quicWorld) echoes(t *testing.T, name, path string, to io.Writer, from *bufio.Reader) *opened {
	t.Helper()
	fmt.Fprintln(to, "ping")
	if got, err := from.ReadString('\n'); err != nil || got != "ping\n" {
		t.Fatal(name, got, err)
	}
	o := &opened{name: name, path: path, ended: make(chan error, 1)}
	go o.drain(from)
	return o
}

// openAll opens a stream of each kind.
func (q *quicWorld) openAll(t *testing.T, b *browser) []*opened {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: q.tls.RootCAs}
	first := &http.Transport{TLSClientConfig: config.Clone(), DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		c := config.Clone()
		c.NextProtos = []string{"http/1.1"}
		return tls.Dial("tcp", q.address, c)
	}}
	second := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
	third := q.http3()
	t.Cleanup(first.CloseIdleConnections)
	t.Cleanup(second.CloseIdleConnections)
	t.Cleanup(func() { _ = third.Close() })
	all := []*opened{
		q.openWebSocket(t, b, "a WebSocket over HTTP/1.1", "/1/socket"),
		q.openConnect(t, b, "a WebSocket over HTTP/3", "/3/socket"),
	}
	for i, transport := range []http.RoundTripper{first, second, third} {
		for _, kind := range []string{"busy", "silent"} {
			all = append(all, q.openEvents(t, b, fmt.Sprintf("%s events over HTTP/%d", kind, i+1), fmt.Sprintf("/%d/%s", i+1, kind), transport))
		}
	}
	return all
}

// TestStreamsEnd: what is open ends within seconds when its session does, over every
// protocol, whatever other handlers do to the response. Others go on.
func TestStreamsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		options string
		end     func(q *quicWorld, b *browser, own []string) // nil: time does
	}{
		"logout": {"", func(q *quicWorld, b *browser, _ []string) {
			b.do(http.MethodPost, q.Site+"/truelayer/logout", "Origin", q.Site, "Sec-Fetch-Site", "same-origin")
		}},
		"revocation": {"", func(q *quicWorld, _ *browser, own []string) {
			for _, id := range own {
				q.admin(http.MethodDelete, "sessions/"+id, "")
			}
		}},
		"lifetime": {"max_lifetime 6s", nil},
	} {
		t.Run(name, func(t *testing.T) {
			q, app := startStreams(t, test.options)
			b := q.signedIn()
			all, own := q.openAll(t, b), q.listed("")
			var neighbours []*opened
			if test.end != nil {
				neighbours = q.openAll(t, q.signedIn())
				test.end(q, b, own)
			}
			// over HTTP/3 only a read or a write finds out that its deadline has passed
			silent, read := all[len(all)-1], all[len(all)-1].read.Load()
			for _, o := range all {
				if o == silent {
					close(app.next)
				}
				select {
				case err := <-o.ended:
					t.Logf("%s: %v", o.name, err)
				case <-time.After(15 * time.Second):
					t.Errorf("%s goes on", o.name)
				}
				waitUntil(t, o.name+" to end for the application", func() bool { return app.left(o.path) })
			}
			equal(t, "bytes that came after the end", silent.read.Load(), read)
			for _, o := range neighbours {
				select {
				case err := <-o.ended:
					t.Errorf("a neighbour's: %s has ended: %v", o.name, err)
				default:
				}
			}
		})
	}
}
