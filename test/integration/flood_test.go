package integration

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	truelayer "github.com/caddy-truelayer/caddy-truelayer"
)

// TestAnonymousFlood: of requests by nobody in particular nothing stays, neither
// in the store nor in memory: who sends many of them cannot fill it. Each comes
// from another address, as with many machines.
func TestAnonymousFlood(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.logsAsWritten = true
		w.Global = "servers {\n\t\ttrusted_proxies static 127.0.0.0/8 ::1/128\n\t}"
	})
	// all memory stores of a process share what they keep
	var store truelayer.MemoryStore
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := store.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Cleanup() }()

	own, _ := w.signedIn().ownCookies(w.Site)
	kept := records(t, &store)
	line := &wire{w: w}
	defer line.hangUp()
	for _, test := range []struct {
		what   string
		status int
		ask    func(i int) string // a request line, and fields
	}{
		{"navigations", 303, func(i int) string {
			return fmt.Sprintf("GET /page/%d HTTP/1.1\r\n%s", i, rawNavigation)
		}},
		{"logins", 303, func(i int) string {
			return fmt.Sprintf("GET /truelayer/login?return=/page/%d HTTP/1.1\r\n%s", i, rawNavigation)
		}},
		{"orphan callbacks", 400, func(int) string {
			return "GET /truelayer?code=" + invented() + "&state=" + invented() + " HTTP/1.1\r\n" + rawNavigation
		}},
		{"orphan errors", 403, func(int) string {
			return "GET /truelayer?error=access_denied&state=" + invented() + " HTTP/1.1\r\n"
		}},
		{"invented sessions", 401, func(int) string {
			return "GET /page HTTP/1.1\r\nCookie: " + own.Name + "=" + invented() + "\r\n"
		}},
		{"invented logins", 400, func(int) string {
			state := invented()
			return "GET /truelayer?code=x&state=" + state + " HTTP/1.1\r\nCookie: " + own.Name + "-login-" + state[:16] + "=" + invented() + "\r\n"
		}},
		{"logouts", 303, func(int) string {
			return "POST /truelayer/logout HTTP/1.1\r\nContent-Length: 0\r\nCookie: " + own.Name + "=" + invented() + "\r\n"
		}},
		{"questions about the session", 200, func(int) string {
			return "GET /truelayer/session HTTP/1.1\r\nCookie: " + own.Name + "=" + invented() + "\r\n"
		}},
	} {
		flood := func(n int) {
			t.Helper()
			for i := range n {
				first, fields, _ := strings.Cut(test.ask(i), "\r\n")
				request := fmt.Sprintf("%s\r\nHost: localhost\r\nX-Forwarded-For: 2001:db8:%x::1\r\n%s\r\n", first, i, fields)
				if status, _ := line.ask(request); status != test.status {
					t.Fatalf("%s: status %d, want %d", test.what, status, test.status)
				}
			}
			line.w = &world{t: t, Port: w.Port} // what the harness has learned is not the server's
		}
		const requests, most = 1000, 100 // bytes for each request
		flood(200)                       // for what is made once
		before := heap()
		flood(requests)
		waitUntil(t, "the memory of "+test.what+" to be free", func() bool { return heap()-before < requests*most })
	}
	equal(t, "records more than before", records(t, &store)-kept, 0)
	equal(t, "token requests", w.sim.CallsGrant("authorization_code"), 1)
	if n, _ := w.app.requests(); n > 0 {
		t.Errorf("%d requests reached the application", n)
	}
}

// records is how many there are in the store.
func records(t *testing.T, store *truelayer.MemoryStore) (n int) {
	t.Helper()
	for cursor := ""; ; {
		ids, next, err := store.List(t.Context(), cursor, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if n += len(ids); next == "" {
			return n
		}
		cursor = next
	}
}

// heap is what the process holds, without what the next collections find free:
// pools keep things for two of them.
func heap() int {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) //nolint:gosec // no machine has more
}
