package authserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
)

// wire is a server that answers each connection with bytes of the test's own,
// as net/http's server would not.
func wire(t *testing.T, answer func(conn net.Conn)) string {
	t.Helper()
	return "http://" + loopback.Serve(t, func(conn net.Conn) {
		// an answer before the request would be another matter
		_, _ = conn.Read(make([]byte, 64<<10))
		answer(conn)
	})
}

// endless writes until the other side has had enough.
func endless(w io.Writer, start, piece string) {
	_, err := io.WriteString(w, start)
	for err == nil {
		_, err = io.WriteString(w, piece)
	}
}

// stalling are servers that never come to an end.
func stalling(t *testing.T) map[string]string {
	t.Helper()
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	then := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			<-hold
		}
	}
	drip := func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			if _, err := io.WriteString(conn, " "); err != nil {
				return
			}
			select {
			case <-ticker.C:
			case <-hold:
				return
			}
		}
	}
	return map[string]string{
		"says nothing":                 wire(t, then("")),
		"stops in the status line":     wire(t, then("HTTP/1.1 2")),
		"stops in the header":          wire(t, then("HTTP/1.1 200 OK\r\nContent-Type: app")),
		"stops before the body":        wire(t, then("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")),
		"stops in the body":            wire(t, then("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")),
		"stops in a chunk":             wire(t, then("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{")),
		"stops after a whole answer":   wire(t, then("HTTP/1.1 200 OK\r\n\r\n{}")), // which has no length
		"promises to go on":            wire(t, then("HTTP/1.1 100 Continue\r\n\r\n")),
		"sends a byte now and then":    wire(t, drip),
		"says nothing in a handshake":  strings.Replace(wire(t, then("")), "http:", "https:", 1),
		"stops in a handshake's start": strings.Replace(wire(t, then("\x16\x03\x03")), "http:", "https:", 1),
	}
}

// TestStallingServers: a call ends with its context, and by itself with the
// client's own timeout, wherever the server stops.
func TestStallingServers(t *testing.T) {
	t.Parallel()
	if timeout := NewServer("https://auth.example").http.timeout; timeout != requestTimeout {
		t.Fatalf("a call may take %v", timeout)
	}
	const short = 50 * time.Millisecond
	for name, base := range stalling(t) {
		for bound, change := range map[string]func(*Client, context.Context) (context.Context, context.CancelFunc){
			"by its context": func(_ *Client, ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, short)
			},
			"by the client": func(c *Client, ctx context.Context) (context.Context, context.CancelFunc) {
				c.Server.http.timeout = short
				return context.WithCancel(ctx)
			},
		} {
			t.Run(name+", bound "+bound, func(t *testing.T) {
				t.Parallel()
				c := testClient(base)
				ctx, cancel := change(c, t.Context())
				defer cancel()
				_, err := c.Exchange(ctx, "canary-code", "r", NewSecret("canary-verifier"))
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("the exchange ended with %v", err)
				}
				if strings.Contains(fmt.Sprintf("%+v", err), "canary") {
					t.Errorf("the error repeats a secret: %v", err)
				}
			})
		}
	}
}

// TestEndlessServers: a call reads no more than it needs.
func TestEndlessServers(t *testing.T) {
	t.Parallel()
	if transport := NewServer("https://auth.example").http.transport.Load(); transport.MaxResponseHeaderBytes != maxAnswer {
		t.Errorf("a header may have %d bytes", transport.MaxResponseHeaderBytes)
	}
	spaces, packed := strings.Repeat(" ", 4<<10), bomb(t)
	for name, answer := range map[string]struct{ start, piece string }{
		"a body":                    {"HTTP/1.1 200 OK\r\n\r\n{", spaces},
		"a chunked body":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n" + spaces + "\r\n"},
		"a body with an error":      {"HTTP/1.1 400 Bad Request\r\n\r\n{\"error\":\"invalid_grant\"", spaces},
		"a header":                  {"HTTP/1.1 200 OK\r\n", "X: y\r\n"},
		"a field":                   {"HTTP/1.1 200 OK\r\nX: ", spaces + "y"},
		"a status line":             {"HTTP/1.1 200 ", spaces + "OK"},
		"provisional answers":       {"", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"},
		"a million nested arrays":   {"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", strings.Repeat("[", 1000)},
		"chunks that hold nothing":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;x=" + spaces[:2000] + "\r\n \r\n"},
		"a trailer":                 {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", "X: y\r\n"},
		"no HTTP at all":            {"", "canary "},
		"a body that is compressed": {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", packed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := wire(t, func(conn net.Conn) { endless(conn, answer.start, answer.piece) })
			_, err := testClient(base).Exchange(t.Context(), "canary-code", "r", Secret{})
			refused, ok := errors.AsType[*Error](err)
			if !ok || refused.Code != "" {
				t.Fatalf("got %v", err)
			}
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("read until %v", err)
			}
		})
	}
}

// malformed are answers that are not quite HTTP.
var malformed = map[string]string{
	"another protocol":       "SSH-2.0-canary\r\n",
	"a mail server":          "220 canary ESMTP\r\n",
	"another version":        "HTTP/canary 200 OK\r\n\r\n",
	"no status":              "HTTP/1.1 canary OK\r\n\r\n",
	"a status of four":       "HTTP/1.1 2000 canary\r\n\r\n",
	"a field without colon":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("canary", 5000) + "\r\n\r\n",
	"a field with NUL":       "HTTP/1.1 200 OK\r\nX: canary\x00\r\n\r\n",
	"a length in letters":    "HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n",
	"two lengths":            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: canary\r\n\r\n",
	"an unknown encoding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: canary\r\n\r\n",
	"a chunk without length": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n",
	"a trailer in pieces":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\ncanary\r\n\r\n",
	"an impossible place":    "HTTP/1.1 302 Found\r\nLocation: http://[canary\r\nContent-Length: 0\r\n\r\n",
	"a place without end":    "HTTP/1.1 307 Found\r\nLocation: %zz" + strings.Repeat("canary", 5000) + "\r\nContent-Length: 0\r\n\r\n",
	"another protocol's 101": "HTTP/1.1 101 canary\r\nUpgrade: canary\r\nConnection: Upgrade\r\n\r\ncanary",
}

// TestMalformedAnswers: what cannot be read is not repeated either, by neither
// call. It may be the request itself, with the client secret.
func TestMalformedAnswers(t *testing.T) {
	token := NewSecret(signed(object{"alg": "ES256", "kid": ecKeyID, "typ": "at+jwt"}, goodClaims(), ecKey))
	for name, answer := range malformed {
		base := wire(t, func(conn net.Conn) { _, _ = io.WriteString(conn, answer) })
		c := testClient(base)
		for what, err := range map[string]error{
			"an exchange": second(c.Exchange(t.Context(), "canary-code", "r", Secret{})),
			"a refresh":   second(c.Refresh(t.Context(), NewSecret("canary-refresh"))),
			"disconnect":  c.Disconnect(t.Context(), NewSecret("canary-access")),
			"the key set": NewVerifier(base, testIssuer, "client", time.Now).Verify(t.Context(), token),
		} {
			if err == nil {
				t.Errorf("%s: %s succeeded", name, what)
			} else if text := err.Error(); strings.Contains(text, "canary") || len(text) > 300 {
				t.Errorf("%s: %s: the error repeats the answer, in %d bytes: %.300s", name, what, len(text), text)
			}
		}
	}
}
