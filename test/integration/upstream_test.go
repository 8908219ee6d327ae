package integration

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"testing"
)

// sessionCookies are the browser's cookies as one header line.
// TestHeadersUpstream: our cookies and the client's token header go no further,
// everything else arrives byte for byte.
func TestHeadersUpstream(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Matcher = "/account*"
		w.After = "header /account/no-cache Cache-Control no-cache"
	})
	b := w.signedInAt("/account")
	own := b.cookies(w.Site)
	for _, test := range []struct {
		path, authorization, wantPrefix string
	}{
		{"/account", "Bearer forged", "Bearer eyJ"},
		{"/account", "", "Bearer eyJ"},
		{"/public", "Basic dXNlcjpwYXNz", "Basic dXNlcjpwYXNz"},
		{"/public", "", ""},
	} {
		raw := "GET " + test.path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
			"Cookie: a=1;  " + own + ";b=\"x y\"; c\r\nCookie: d=4\r\nX-Other: kept\r\n"
		if test.authorization != "" {
			raw += "Authorization: " + test.authorization + "\r\nauthorization: Second\r\n"
		}
		status := w.raw(raw + "\r\n")
		equal(t, test.path+": status", status, http.StatusOK)
		_, got := w.app.requests()
		if auth := strings.Join(got.Header.Values("Authorization"), ","); !strings.HasPrefix(auth, test.wantPrefix) ||
			(test.path == "/account" && strings.Contains(auth, "Second")) || (test.wantPrefix == "" && auth != "") {
			t.Errorf("%s: the application got Authorization %q", test.path, auth)
		}
		equal(t, test.path+": cookies", strings.Join(got.Header.Values("Cookie"), "|"), `a=1;b="x y"; c|d=4`)
		equal(t, "X-Other", got.Header.Get("X-Other"), "kept")
	}
}

// signedInAt returns a browser with a session, begun at a page.
func (w *world) signedInAt(page string) *browser {
	w.t.Helper()
	b := w.browser()
	if a := w.login(b, w.Site+page); a.location() != page {
		w.t.Fatalf("login: %d %s", a.StatusCode, a.body)
	}
	return b
}

// raw sends bytes and returns the answer's status.
func (w *world) raw(request string) int {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.Site, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	w.secrets.learn(resp)
	return resp.StatusCode
}

func TestTokenHeader(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Matcher = "/account*"
		w.Options = "token_header x-bank-token"
	})
	b := w.signedInAt("/account")
	b.do("GET", w.Site+"/account", "Authorization", "Basic own", "X-Bank-Token", "forged")
	_, got := w.app.requests()
	if token := got.Header.Values("X-Bank-Token"); len(token) != 1 || !strings.HasPrefix(token[0], "eyJ") {
		t.Errorf("X-Bank-Token is %q", token)
	}
	equal(t, "Authorization", got.Header.Get("Authorization"), "Basic own")
	b.do("GET", w.Site+"/public", "X-Bank-Token", "forged")
	_, got = w.app.requests()
	equal(t, "on a public route", got.Header.Get("X-Bank-Token"), "")
}

func TestPlaceholders(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.After = `
	request_header X-User {http.auth.user.id}
	request_header X-Bank {http.truelayer.provider}
	request_header X-Scopes {http.truelayer.scopes}
	request_header X-Expires {http.truelayer.expires_in}
	request_header X-Vars {http.vars.truelayer}`
	})
	b := w.signedIn()
	b.navigate(w.Site + "/")
	_, first := w.app.requests()
	b.navigate(w.Site + "/")
	_, got := w.app.requests()
	if len(got.Header.Get("X-User")) < 20 || got.Header.Get("X-User") != first.Header.Get("X-User") {
		t.Errorf("X-User is %q, then %q", first.Header.Get("X-User"), got.Header.Get("X-User"))
	}
	equal(t, "X-Bank", got.Header.Get("X-Bank"), "mock")
	equal(t, "X-Scopes", got.Header.Get("X-Scopes"), "verification")
	equal(t, "X-Vars", got.Header.Get("X-Vars"), "[redacted]")
	if e := got.Header.Get("X-Expires"); len(e) != 4 || e > "3600" {
		t.Errorf("X-Expires is %q", e)
	}
}

func TestWebSocket(t *testing.T) {
	w := start(t, plain, nil)
	b := w.signedIn()
	w.app.answer(func(rw http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = buf.Flush()
		line, _ := buf.ReadString('\n')
		fmt.Fprintf(conn, "%s got %s", r.Header.Get("Authorization")[:10], line)
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.Site, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: %s\r\n\r\n", b.cookies(w.Site))
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	equal(t, "status", resp.StatusCode, http.StatusSwitchingProtocols)
	fmt.Fprintln(conn, "ping")
	got, err := reader.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "through the socket", got, "Bearer eyJ got ping\n")
	w.awaitUpgrades(1)
}

// awaitUpgrades returns when the connections of so many requests that were
// upgraded have ended: Caddy counts the bytes of one while it may be told to
// stop, which the race detector sees.
func (w *world) awaitUpgrades(n int) {
	w.t.Helper()
	waitUntil(w.t, "the upgraded connections to end", func() bool {
		log, err := os.ReadFile(w.Data + "/access.log")
		return err == nil && bytes.Count(log, []byte(`"status":101`)) >= n
	})
}

// TestStreams: events arrive one by one, while the request is under way.
func TestStreams(t *testing.T) {
	w := start(t, plain, nil)
	b := w.signedIn()
	next := make(chan string)
	w.app.answer(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			fmt.Fprintf(rw, "data: %s\n\n", event)
			_ = http.NewResponseController(rw).Flush()
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Site+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	sent := make(chan struct{})
	go func() {
		defer close(next)
		for _, event := range []string{"one", "two", "three"} {
			next <- event
			<-sent
		}
	}()
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, event := range []string{"one", "two", "three"} {
		for lines.Scan() && lines.Text() == "" {
		}
		equal(t, "event", lines.Text(), "data: "+event)
		sent <- struct{}{}
	}
}

// TestBodiesAndTrailers: large bodies both ways, trailers, and 1xx answers.
func TestBodiesAndTrailers(t *testing.T) {
	w := start(t, plain, nil)
	b := w.signedIn()
	w.app.answer(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("Trailer", "X-Digest")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = rw.Write(body)
		rw.Header().Set("X-Digest", fmt.Sprintf("%x", sha256.Sum256(body)))
	})
	hints := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil },
	})
	body := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Site+"/echo", struct{ io.Reader }{bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	echoed, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(echoed, body) {
		t.Errorf("%d bytes came back of %d", len(echoed), len(body))
	}
	equal(t, "trailer", resp.Trailer.Get("X-Digest"), fmt.Sprintf("%x", sha256.Sum256(body)))
	equal(t, "early hints", hints, 1)
}
