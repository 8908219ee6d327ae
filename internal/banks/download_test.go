package banks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// own returns a downloader whose auth server is a test's server.
func own(t *testing.T, handler http.HandlerFunc) (*downloader, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	d := newDownloader(newDestinations(server.URL))
	t.Cleanup(d.closeIdle)
	return d, server
}

// TestDownload: a logo is asked for without anything that says who asks.
func TestDownload(t *testing.T) {
	d, server := own(t, func(w http.ResponseWriter, r *http.Request) {
		for _, field := range []string{"Cookie", "Referer", "Authorization", "X-Forwarded-For", "Traceparent"} {
			if r.Header.Values(field) != nil {
				t.Errorf("sent %s", field)
			}
		}
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = io.WriteString(w, "<svg/>")
	})
	for range 2 {
		got, err := d.fetch(t.Context(), server.URL+"/a.svg")
		if err != nil || string(got.content) != "<svg/>" || got.mediaType != "image/svg+xml" {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// TestHostileLogos: what is no logo is refused, and its error repeats nothing of it.
func TestHostileLogos(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	write := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, body)
		}
	}
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		bad     bool // an answer that is no logo, not a call that failed
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, true},
		"redirect to itself": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.Path)
			w.WriteHeader(http.StatusMovedPermanently)
		}, true},
		"missing": {http.NotFound, true},
		"partial": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "GIF89a")
		}, true},
		"empty": {write("image/png", ""), true},
		"huge":  {write("image/png", "\x89PNG\r\n\x1a\n"+strings.Repeat("x", maxLogo)), true},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for chunk := strings.Repeat("x", 1<<16); ; {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		}, true},
		"HTML":        {write("text/html", "<html>hunter2"), true},
		"HTML as SVG": {write("image/svg+xml", "<html>hunter2<svg></svg>"), true},
		"SVG as HTML": {write("text/html", "<svg/>"), true},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "\x1f\x8bhunter2")
		}, true},
		"huge header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-A", strings.Repeat("hunter2", maxLogoHeader))
		}, false},
		"no HTTP":            {raw("hunter2\r\n\r\n"), false},
		"odd status":         {raw("HTTP/1.1 hunter2\r\n\r\n"), false},
		"broken off":         {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nGIF89ahunter2"), false},
		"another than asked": {raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: hunter2\r\nConnection: upgrade\r\n\r\n"), true},
	} {
		t.Run(name, func(t *testing.T) {
			d, server := own(t, test.handler)
			got, err := d.fetch(t.Context(), server.URL+"/a.svg")
			if err == nil || got.content != nil || strings.Contains(err.Error(), "hunter2") || errors.Is(err, ErrBadLogo) != test.bad {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestSlowLogo: a download ends with its time, whether the header or the body is late.
func TestSlowLogo(t *testing.T) {
	for _, begin := range []string{"", "GIF89a"} {
		d, server := own(t, func(w http.ResponseWriter, r *http.Request) {
			if begin != "" {
				_, _ = io.WriteString(w, begin)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := d.fetch(ctx, server.URL+"/a.svg"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %q: %v", begin, err)
		}
	}
}

// TestLogoHostIsHere: a host that may be asked, and whose name leads to an address of
// this machine, gets no connection. It is how a name is rebound.
func TestLogoHostIsHere(t *testing.T) {
	var calls atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	server.Config.ConnState = func(net.Conn, http.ConnState) { calls.Add(1) }
	server.StartTLS()
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost:" + port, "127.0.0.1:" + port, "[::ffff:127.0.0.1]:" + port} {
		// permitted, and not known to be this machine
		d := newDownloader(&destinations{scheme: "https", host: host})
		if _, err := d.fetch(t.Context(), "https://"+host+"/a.svg"); !errors.Is(err, ErrNotPublic) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if calls.Load() != 0 {
		t.Error("there was a connection")
	}
}

// TestLogoOfTheSimulatorOnly: an auth server on this machine opens its own port, and no
// other one.
func TestLogoOfTheSimulatorOnly(t *testing.T) {
	d, server := own(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "GIF89a") })
	if _, err := d.fetch(t.Context(), server.URL+"/a.gif"); err != nil {
		t.Error(err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if _, err := d.fetch(t.Context(), other.URL+"/a.gif"); !errors.Is(err, ErrNoLogo) {
		t.Error(err)
	}
	conn, err := d.dial(t.Context(), "tcp", other.Listener.Addr().String())
	if !errors.Is(err, ErrNotPublic) {
		t.Error(conn, err)
	}
}

// TestLogoThroughProxy: a proxy makes the connection if there is one, wherever it is. The
// list of hosts holds all the same.
func TestLogoThroughProxy(t *testing.T) {
	var asked atomic.Pointer[string]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := r.Method + " " + r.Host
		asked.Store(&what)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	d := newDownloader(newDestinations("https://auth.truelayer.com"))
	d.proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	if _, err := d.fetch(t.Context(), "https://evil.example/a.svg"); !errors.Is(err, ErrNoLogo) || asked.Load() != nil {
		t.Error(err)
	}
	if _, err := d.fetch(t.Context(), "https://"+assets+"/a.svg"); err == nil || asked.Load() == nil || *asked.Load() != "CONNECT "+assets+":443" {
		t.Error(err, asked.Load())
	}
	d.proxy = func(*http.Request) (*url.URL, error) { return nil, fmt.Errorf("odd") }
	if _, err := d.fetch(t.Context(), "https://"+assets+"/a.svg"); err == nil {
		t.Error("went around a proxy that cannot be used")
	}
}
