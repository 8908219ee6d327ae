package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestQuickstart goes through the whole of it over HTTP; test/browser does the
// same with a real browser.
func TestQuickstart(t *testing.T) {
	for _, name := range []string{
		"TRUELAYER_CLIENT_ID", "TRUELAYER_CLIENT_SECRET", "XDG_DATA_HOME", "XDG_CONFIG_HOME",
		"QUICKSTART_PORT", "QUICKSTART_APP", "QUICKSTART_AUTH_SERVER", "QUICKSTART_DATA",
	} {
		t.Setenv(name, "") // and set it back after the test
	}
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	site, ended := start(t)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	visit := func(target string, form url.Values) (string, string) {
		t.Helper()
		method, body := http.MethodGet, ""
		if form != nil {
			method, body = http.MethodPost, form.Encode()
		}
		req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(page), resp.Header.Get("Location")
	}

	if page, _ := visit(site+"/", nil); !strings.Contains(page, `href="/account"`) {
		t.Fatalf("the home page is not public: %s", page)
	}
	_, link := visit(site+"/account", nil)
	callback, err := simulator.Approve(t.Context(), nil, link)
	if err != nil {
		t.Fatal(err)
	}
	if _, back := visit(callback, nil); back != "/account" {
		t.Fatalf("the callback leads to %q", back)
	}
	if page, _ := visit(site+"/account", nil); !strings.Contains(page, "Bearer eyJ") {
		t.Errorf("the application got no token: %s", page)
	}
	for name, want := range map[string]string{"John Doe": "<strong>Verified</strong>", "Somebody Else": "<strong>Not verified</strong>"} {
		if page, _ := visit(site+"/account", url.Values{"name": {name}}); !strings.Contains(page, want) {
			t.Errorf("%s: %s", name, page)
		}
	}

	ended()
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// start runs the quickstart until ended is called.
func start(t *testing.T) (site string, ended func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	output, write := io.Pipe()
	go func() {
		done <- run(ctx, []string{"-port", strconv.Itoa(port), "-app-port", "0", "-simulator-port", "0"}, write)
		_ = write.Close()
	}()
	line, _ := bufio.NewReader(output).ReadString('\n')
	site, found := strings.CutPrefix(strings.TrimSpace(line), "ready: ")
	if !found {
		cancel()
		t.Fatalf("said %q: %v", line, <-done)
	}
	return site, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
