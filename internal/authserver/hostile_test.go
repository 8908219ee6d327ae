package authserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// TestTokenAnswerRefused: what is not exactly an answer as RFC 6749 section 5.1
// has it is none. Each is refused without being repeated.
func TestTokenAnswerRefused(t *testing.T) {
	expires := func(value string) string {
		return `{"access_token":"canary","token_type":"Bearer","expires_in":` + value + `}`
	}
	with := func(members string) string {
		return `{"access_token":"canary","token_type":"Bearer","expires_in":3600` + members + `}`
	}
	inUTF16 := func(order binary.AppendByteOrder, text string) string {
		var b []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, unit)
		}
		return string(b)
	}
	for name, body := range map[string]string{
		"nothing":                       ``,
		"null":                          `null`,
		"a string":                      `"canary"`,
		"a number":                      `7`,
		"an array around it":            `[` + with(``) + `]`,
		"no members":                    `{}`,
		"an error":                      `{"error":"invalid_grant"}`,
		"an open end":                   strings.TrimSuffix(with(``), `}`),
		"trailing text":                 with(``) + `canary`,
		"a trailing bracket":            with(``) + `]`,
		"a trailing comma":              with(`,`),
		"a trailing NUL":                with(``) + "\x00",
		"a second object":               with(``) + with(``),
		"a comment":                     with(`/* canary */`),
		"single quotes":                 strings.ReplaceAll(with(``), `"`, `'`),
		"a byte order mark":             "\ufeff" + with(``),
		"UTF-16, big endian":            inUTF16(binary.BigEndian, "\ufeff"+with(``)),
		"UTF-16, little endian":         inUTF16(binary.LittleEndian, "\ufeff"+with(``)),
		"UTF-16 without a mark":         inUTF16(binary.BigEndian, with(``)),
		"Latin-1 in the token":          strings.Replace(with(``), "canary", "canary\xe9", 1),
		"a form":                        `access_token=canary&token_type=Bearer&expires_in=3600`,
		"a JWT of it":                   `eyJhbGciOiJub25lIn0.eyJhY2Nlc3NfdG9rZW4iOiJjYW5hcnkifQ.`,
		"the token twice":               with(`,"access_token":"canary"`),
		"the token twice, escaped":      with(`,"access_tok\u0065n":"canary2"`),
		"the expiry twice":              with(`,"expires_in":3600`),
		"an unknown member twice":       with(`,"x":1,"x":1`),
		"all in another case":           strings.ToUpper(with(``)),
		"the type in another case":      strings.Replace(with(``), "token_type", "Token_Type", 1),
		"the expiry in another case":    strings.Replace(with(``), "expires_in", "expires_In", 1),
		"the token with a blank":        strings.Replace(with(``), `"access_token"`, `"access_token "`, 1),
		"token null":                    strings.Replace(with(``), `"canary"`, `null`, 1),
		"token empty":                   strings.Replace(with(``), `canary`, ``, 1),
		"token an object":               strings.Replace(with(``), `"canary"`, `{"canary":1}`, 1),
		"token a list":                  strings.Replace(with(``), `"canary"`, `["canary"]`, 1),
		"token true":                    strings.Replace(with(``), `"canary"`, `true`, 1),
		"token with a line break":       strings.Replace(with(``), `canary`, `canary\u000a`, 1),
		"token with NUL":                strings.Replace(with(``), `canary`, `canary\u0000`, 1),
		"token with a blank":            strings.Replace(with(``), `canary`, `canary x`, 1),
		"token with another script":     strings.Replace(with(``), `canary`, `canary\u0430`, 1),
		"token with half a character":   strings.Replace(with(``), `canary`, `canary\ud800`, 1),
		"a token that is too long":      strings.Replace(with(``), `canary`, strings.Repeat("c", maxAccessToken+1), 1),
		"type null":                     strings.Replace(with(``), `"Bearer"`, `null`, 1),
		"type a number":                 strings.Replace(with(``), `"Bearer"`, `7`, 1),
		"type a list":                   strings.Replace(with(``), `"Bearer"`, `["Bearer"]`, 1),
		"type empty":                    strings.Replace(with(``), `Bearer`, ``, 1),
		"type MAC":                      strings.Replace(with(``), `Bearer`, `mac`, 1),
		"type DPoP":                     strings.Replace(with(``), `Bearer`, `DPoP`, 1),
		"type N_A":                      strings.Replace(with(``), `Bearer`, `N_A`, 1), // RFC 8693 section 2.2.1
		"type with a blank":             strings.Replace(with(``), `Bearer`, `Bearer `, 1),
		"type with more":                strings.Replace(with(``), `Bearer`, `Bearer,DPoP`, 1),
		"type with a folding letter":    strings.Replace(with(``), `Bearer`, `beareɼ`, 1),
		"expiry null":                   expires(`null`),
		"expiry 0":                      expires(`0`),
		"expiry -0":                     expires(`-0`),
		"expiry negative":               expires(`-3600`),
		"expiry fractional":             expires(`3600.5`),
		"expiry with a point":           expires(`3600.0`),
		"expiry with an exponent":       expires(`36e2`),
		"expiry with a capital one":     expires(`36E2`),
		"expiry with a negative one":    expires(`3600000e-3`),
		"expiry with a huge one":        expires(`1e999`),
		"expiry a string":               expires(`"3600"`),
		"expiry true":                   expires(`true`),
		"expiry a list":                 expires(`[3600]`),
		"expiry an object":              expires(`{"seconds":3600}`),
		"expiry a date":                 expires(`"2999-01-01T00:00:00Z"`),
		"expiry with a plus":            expires(`+3600`),
		"expiry octal":                  expires(`0600`),
		"expiry hexadecimal":            expires(`0x10`),
		"expiry NaN":                    expires(`NaN`),
		"expiry Infinity":               expires(`Infinity`),
		"expiry beyond a year":          expires(fmt.Sprint(maxExpiresIn + 1)),
		"expiry of 32 bits":             expires(`4294967296`),
		"expiry of 63 bits":             expires(`9223372036854775807`),
		"expiry of 64 bits":             expires(`18446744073709551616`),
		"expiry of many digits":         expires(strings.Repeat("9", 5000)),
		"refresh token a number":        with(`,"refresh_token":7`),
		"refresh token with a break":    with(`,"refresh_token":"canary\r\nx"`),
		"refresh token too long":        with(`,"refresh_token":"` + strings.Repeat("r", maxRefreshToken+1) + `"`),
		"scope a list":                  with(`,"scope":["info"]`),
		"scope a number":                with(`,"scope":7`),
		"scope with a line break":       with(`,"scope":"info\naccounts"`),
		"scope too long":                with(`,"scope":"` + strings.Repeat("s", maxScope+1) + `"`),
		"nested beyond measure":         with(`,"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)),
		"nested without an end":         with(`,"x":` + strings.Repeat("[", 60_000)),
		"nested instead of it":          strings.Repeat("[", 60_000),
		"nested objects":                strings.Repeat(`{"access_token":`, 4_000),
		"a member's name without quote": `{access_token:"canary","token_type":"Bearer","expires_in":3600}`,
		"a member's name is a number":   `{7:"canary","token_type":"Bearer","expires_in":3600}`,
	} {
		token, err := readToken([]byte(body), time.Unix(1_800_000_000, 0))
		if err == nil {
			t.Errorf("%s: accepted, until %v", name, token.Expires)
			continue
		}
		if text := err.Error(); strings.Contains(text, "canary") || len(text) > 200 {
			t.Errorf("%s: the error repeats the answer: %.200s", name, text)
		}
	}
}

// TestTokenAnswerAccepted are answers that look unusual and are right.
func TestTokenAnswerAccepted(t *testing.T) {
	sent := time.Unix(1_800_000_000, 0)
	for name, body := range map[string]string{
		"blanks":                    "\r\n\t { \"access_token\" :\t\"token\" , \"token_type\":\n\"BEARER\", \"expires_in\" :  3600 \r\n} \n",
		"members of another case":   `{"access_token":"token","Access_Token":"evil","token_type":"bearer","Token_Type":"mac","expires_in":3600,"EXPIRES_IN":1}`,
		"escapes":                   `{"access\u005ftoken":"t\u006fken","token_type":"bearer","expires_in":3600}`,
		"an error beside it":        `{"access_token":"token","token_type":"bearer","expires_in":3600,"error":"invalid_grant"}`,
		"deep, but not beyond":      `{"access_token":"token","token_type":"bearer","expires_in":3600,"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
		"null for what is optional": `{"access_token":"token","token_type":"bearer","expires_in":3600,"refresh_token":null,"scope":null,"id_token":null}`,
		"empty for what is":         `{"access_token":"token","token_type":"bearer","expires_in":3600,"refresh_token":"","scope":""}`,
	} {
		token, err := readToken([]byte(body), sent)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if token.Access.Reveal() != "token" || !token.Expires.Equal(sent.Add(time.Hour)) || token.Refresh.Reveal() != "" || token.Scopes != nil {
			t.Errorf("%s: %q until %v, scopes %q", name, token.Access.Reveal(), token.Expires, token.Scopes)
		}
	}
}

// wire is a server that answers each connection with bytes of the test's own,
// as net/http's server would not.
func wire(t *testing.T, answer func(conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				// an answer before the request would be another matter
				_, _ = conn.Read(make([]byte, 64<<10))
				answer(conn)
			}()
		}
	}()
	return "http://" + l.Addr().String()
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
	if timeout := NewServer("https://auth.example").http.Timeout; timeout != requestTimeout {
		t.Fatalf("a call may take %v", timeout)
	}
	const short = 50 * time.Millisecond
	for name, base := range stalling(t) {
		for bound, change := range map[string]func(*Client, context.Context) (context.Context, context.CancelFunc){
			"by its context": func(_ *Client, ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, short)
			},
			"by the client": func(c *Client, ctx context.Context) (context.Context, context.CancelFunc) {
				c.Server.http.Timeout = short
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
	if transport := NewServer("https://auth.example").http.Transport.(*http.Transport); transport.MaxResponseHeaderBytes != maxAnswer {
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

// bomb is a megabyte of spaces before a token answer, in a kilobyte.
func bomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, strings.Repeat(" ", 1<<20)+`{"access_token":"canary","token_type":"bearer","expires_in":60}`)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCompressedAnswer: none was asked for, and none is unpacked.
func TestCompressedAnswer(t *testing.T) {
	var accepted string
	packed := bomb(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, packed)
	}))
	defer server.Close()
	_, err := testClient(server.URL).Exchange(t.Context(), "c", "r", Secret{})
	if !errors.Is(err, errNotJSON) || accepted != "" {
		t.Errorf("Accept-Encoding was %q; got %v", accepted, err)
	}
}

// TestRedirectsAreNotFollowed: the request, which holds the client secret, goes
// to the configured auth server only, whatever that says.
func TestRedirectsAreNotFollowed(t *testing.T) {
	followed := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		followed++
		_, _ = io.WriteString(w, `{"access_token":"a","token_type":"bearer","expires_in":60}`)
	}))
	defer elsewhere.Close()
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Location", elsewhere.URL+"/connect/token")
			w.Header().Set("Refresh", "0; url="+elsewhere.URL)
			w.WriteHeader(status)
		}))
		c := testClient(server.URL)
		for what, err := range map[string]error{
			"an exchange": second(c.Exchange(t.Context(), "c", "r", Secret{})),
			"a refresh":   second(c.Refresh(t.Context(), NewSecret("r"))),
			"disconnect":  c.Disconnect(t.Context(), NewSecret("a")),
		} {
			if err == nil {
				t.Errorf("%d: %s succeeded", status, what)
			}
		}
		server.Close()
		if asked != 3 {
			t.Errorf("%d: asked %d times for three calls", status, asked)
		}
	}
	if followed > 0 {
		t.Errorf("%d redirects were followed", followed)
	}
}

func second[A, B any](_ A, b B) B { return b }

// TestOnlyOKIsSuccess: a token under any other status is none.
func TestOnlyOKIsSuccess(t *testing.T) {
	for _, status := range []int{201, 202, 203, 206, 207, 226, 400, 401, 403, 404, 418, 429, 500, 502, 503, 599} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"access_token":"canary","token_type":"bearer","expires_in":60}`)
		}))
		_, err := testClient(server.URL).Exchange(t.Context(), "c", "r", Secret{})
		server.Close()
		answer, ok := errors.AsType[*Error](err)
		if !ok || answer.Status != status || answer.Code != "" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestErrorWithOK: an error code counts as one only under an error's status, so
// that no proxy's mistake ends a session.
func TestErrorWithOK(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"canary"}`)
	}))
	defer server.Close()
	_, err := testClient(server.URL).Refresh(t.Context(), NewSecret("r"))
	answer, ok := errors.AsType[*Error](err)
	if !ok || answer.Code != "" || answer.Status != http.StatusOK || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

// TestRetryAfter: it is believed up to a bound, in seconds only.
func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"-5":                            0,
		"30":                            30 * time.Second,
		"301":                           maxRetryAfter,
		"9223372036":                    maxRetryAfter,
		"9223372036854775807":           maxRetryAfter,
		"99999999999999999999":          0,
		"1.5":                           0,
		"1e3":                           0,
		"Wed, 21 Oct 2099 07:28:00 GMT": 0,
		"30, 60":                        0,
	} {
		header := http.Header{"Retry-After": {value}}
		if got := readError(http.StatusServiceUnavailable, header, nil).RetryAfter; got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// FuzzErrorAnswer: an error can be logged whatever the answer was: it is short
// plain text, and asks for no more patience than is reasonable.
func FuzzErrorAnswer(f *testing.F) {
	f.Add(400, "30", "abc-123", []byte(`{"error":"invalid_grant","error_description":"x"}`))
	f.Add(503, "Wed, 21 Oct 2099 07:28:00 GMT", "a b\r\n", []byte(`<h1>away</h1>`))
	f.Add(429, "9223372036854775807", strings.Repeat("a", 100), []byte(`{"error":"a","error":"b"}`))
	f.Fuzz(func(t *testing.T, status int, retryAfter, id string, body []byte) {
		header := http.Header{"Retry-After": {retryAfter}, "X-Tl-Correlation-Id": {id}}
		e := readError(status, header, body)
		text := e.Error()
		if len(text) > 300 || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("not for a log: %q", text)
		}
		if e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
			t.Errorf("Retry-After %q is %v", retryAfter, e.RetryAfter)
		}
		if e.Code == "" {
			return
		}
		// another reader of JSON agrees that this is the code
		var answer map[string]any
		if err := json.Unmarshal(body, &answer); err != nil || answer["error"] != e.Code {
			t.Errorf("%q was read as %q; %v", body, e.Code, err)
		}
	})
}
