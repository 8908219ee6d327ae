package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// hostileAnswers are a token endpoint's, beside those of
// TestTokenEndpointMisbehaves. None of them is a token or the end of a consent.
func hostileAnswers(t *testing.T, app string) map[string]http.HandlerFunc {
	t.Helper()
	const good = `{"access_token":"canary-token","token_type":"Bearer","expires_in":3600,"refresh_token":"canary-refresh"}`
	instead := func(old, with string) http.HandlerFunc {
		if !strings.Contains(good, old) {
			t.Fatal("not in the answer: " + old)
		}
		return says(strings.Replace(good, old, with, 1))
	}
	status := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			if body != "" {
				_, _ = io.WriteString(w, body)
			}
		}
	}
	spaces := strings.Repeat(" ", 4<<10)
	return map[string]http.HandlerFunc{
		"301 elsewhere":  elsewhere(http.StatusMovedPermanently, app),
		"302 elsewhere":  elsewhere(http.StatusFound, app),
		"303 elsewhere":  elsewhere(http.StatusSeeOther, app),
		"307 elsewhere":  elsewhere(http.StatusTemporaryRedirect, app),
		"308 elsewhere":  elsewhere(http.StatusPermanentRedirect, app),
		"a token, 201":   status(http.StatusCreated, good),
		"a token, 206":   status(http.StatusPartialContent, good),
		"a token, 500":   status(http.StatusInternalServerError, good),
		"nothing, 200":   status(http.StatusOK, ""),
		"nothing, 204":   status(http.StatusNoContent, ""),
		"an error, 200":  says(`{"error":"invalid_grant","error_description":"canary"}`),
		"endless body":   endless("HTTP/1.1 200 OK\r\n\r\n{", spaces),
		"endless chunks": endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n"+spaces+"\r\n"),
		"endless header": endless("HTTP/1.1 200 OK\r\n", "X-Y: z\r\n"),
		"endless hints":  endless("", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
		"a gzip bomb":    compressed(t, good),
		"hanging up": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
		"a reset": raw(func(conn net.Conn, _ *http.Request) {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}),
		"a reset in the body": raw(func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+good)
			_ = conn.(*net.TCPConn).SetLinger(0)
		}),
		"another protocol": raw(func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
		}),
		"the request, as HTML": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<h1>canary</h1><pre>%s</pre>", r.PostForm.Encode()) //nolint:gosec // what the test looks at
		},
		"the request, as an error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"canary %[1]s","error_description":%[1]q,"error_uri":%[1]q}`, r.PostForm.Encode()) //nolint:gosec // what the test looks at
		},
		"the request, as a token": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":-1}`, r.PostForm.Encode()) //nolint:gosec // what the test looks at
		},
		"the request, as a status": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", r.PostForm.Encode())
		}),
		"the request, as a field": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", strings.Repeat(r.PostForm.Encode(), 50))
		}),
		"the request, as a place to go": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nLocation: http://[%s\r\nContent-Length: 0\r\n\r\n", r.PostForm.Encode())
		}),
		"the request, as a trailer": raw(func(conn net.Conn, r *http.Request) {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n%s\r\n\r\n", r.PostForm.Encode())
		}),
		"expiry 0":              instead(`3600`, `0`),
		"expiry a fraction":     instead(`3600`, `3600.5`),
		"expiry in words":       instead(`3600`, `"an hour"`),
		"expiry of 63 bits":     instead(`3600`, `9223372036854775807`),
		"expiry of a century":   instead(`3600`, `3153600000`),
		"token null":            instead(`"canary-token"`, `null`),
		"token empty":           instead(`canary-token`, ``),
		"token a list":          instead(`"canary-token"`, `["canary-token"]`),
		"token too long":        instead(`canary-token`, strings.Repeat("canary", 4000)),
		"token in UTF-8":        instead(`canary-token`, `canary-töken`),
		"token in Latin-1":      instead(`canary-token`, "canary-t\xf6ken"),
		"type null":             instead(`"Bearer"`, `null`),
		"type mac":              instead(`Bearer`, `mac`),
		"refresh token a break": instead(`canary-refresh`, `canary\r\nrefresh`),
		"refresh token a list":  instead(`"canary-refresh"`, `[]`),
		"scope a list":          instead(`"Bearer"`, `"Bearer","scope":["verification"]`),
		"scope a line break":    instead(`"Bearer"`, `"Bearer","scope":"verification\ncanary"`),
		"a key twice, escaped":  instead(`"Bearer"`, `"Bearer","access_tok\u0065n":"canary"`),
		"keys in capitals":      says(strings.ToUpper(good)),
		"a key in capitals":     instead(`token_type`, `Token_Type`),
		"UTF-16":                says(inUTF16(good)),
		"a byte order mark":     says("\ufeff" + good),
		"trailing text":         says(good + "canary"),
		"trailing bracket":      says(good + "]"),
		"a list of it":          says("[" + good + "]"),
		"nested a million deep": says(strings.Repeat("[", 1_000_000)),
		"nested 30000 deep":     instead(`3600`, `3600,"x":`+strings.Repeat("[", 30_000)+strings.Repeat("]", 30_000)),
	}
}

// failsCalmly asks for an answer of ours that is an error: it is short, shows
// and sets nothing, and leaves one line with its reason in the log.
func (w *world) failsCalmly(t *testing.T, ask func(string) *answer, target string, status int, reason string) *answer {
	t.Helper()
	since := w.log.mark(t)
	a := ask(target)
	equal(t, "status", a.StatusCode, status)
	if !strings.Contains(a.body, reason) || len(a.body) > 8<<10 {
		t.Errorf("want %s, got %d bytes: %.500s", reason, len(a.body), a.body)
	}
	if strings.Contains(a.body+fmt.Sprint(a.Header), "canary") {
		t.Errorf("the visitor was shown the answer: %v %s", a.Header, a.body)
	}
	equal(t, "cookies", len(a.Header.Values("Set-Cookie")), 0)
	equal(t, "Cache-Control", a.Header.Get("Cache-Control"), "no-store")
	lines := 0
	for line := range strings.SplitSeq(since(), "\n") {
		if strings.Contains(diagnostics(line), `,"reason":"`+reason+`"`) {
			lines++
		}
		if ours := strings.Contains(line, `"logger":"http.handlers.truelayer"`); ours && len(line) > 1<<10 || strings.Contains(line, "canary") {
			t.Errorf("the log repeats the answer, in %d bytes: %.500s", len(line), line)
		}
	}
	w.oneLine(t, lines, `,"reason":"`+reason+`"`)
	return a
}

// oneLine checks that so many lines are one. Of lines that say the same only the
// first few in a while are written.
func (w *world) oneLine(t *testing.T, lines int, text string) {
	t.Helper()
	if lines == 0 && strings.Count(w.log.text(t), text) >= 10 {
		return
	}
	equal(t, "lines in the log", lines, 1)
}

func asPage(t *testing.T, a *answer) {
	t.Helper()
	if a.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("no page of ours: %v", a.Header)
	}
}

func asProblem(t *testing.T, a *answer, reason string) {
	t.Helper()
	p := a.problem(t)
	equal(t, "reason", p["reason"], any(reason))
	equal(t, "status in the body", p["status"], any(float64(a.StatusCode)))
}

// loginFails: a callback ends in the error, for people and for machines, after
// one token request, and no session came of it.
func (w *world) loginFails(t *testing.T, calls func() int, status int, reason string) {
	t.Helper()
	for form, check := range map[string]func(*browser, string){
		"page": func(b *browser, callback string) {
			a := w.failsCalmly(t, b.navigate, callback, status, reason)
			asPage(t, a)
			if !strings.Contains(a.body, "/truelayer/login?return=%2Fpage") {
				t.Errorf("no way to start again: %s", a.body)
			}
		},
		"problem": func(b *browser, callback string) {
			asProblem(t, w.failsCalmly(t, b.fetch, callback, status, reason), reason)
		},
	} {
		b := w.browser()
		callback := w.approve(b, w.Site+"/page")
		before := calls()
		check(b, callback)
		if again := b.navigate(callback); again.StatusCode != http.StatusBadRequest && (again.StatusCode != status || !strings.Contains(again.body, reason)) {
			t.Errorf("%s: a reload: %d %s", form, again.StatusCode, again.body)
		}
		equal(t, form+": token requests", calls()-before, 1)
		equal(t, form+": the page", b.navigate(w.Site+"/page").StatusCode, http.StatusSeeOther)
	}
}

// refreshFails: a session whose access token has expired waits for better
// times, after one token request, and is not over.
func (w *world) refreshFails(t *testing.T, b *browser, calls func() int) {
	t.Helper()
	since, before := w.log.mark(t), calls()
	a := w.failsCalmly(t, b.fetch, w.Site+"/page", http.StatusServiceUnavailable, "token_unavailable")
	asProblem(t, a, "token_unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	const failed = "refreshing an access token failed"
	w.oneLine(t, strings.Count(since(), failed), failed)
	a = w.failsCalmly(t, b.navigate, w.Site+"/page", http.StatusServiceUnavailable, "token_unavailable")
	asPage(t, a)
	if a.Header.Get("Refresh") == "" {
		t.Error("the page does not try again by itself")
	}
	// a slow machine may have come to the next attempt already
	if n := calls() - before; n < 1 || n > 2 {
		t.Errorf("%d token requests", n)
	}
}

// shortLived returns browsers with sessions whose access tokens expire soon,
// and a function that waits for that.
func (w *world) shortLived(n int, lifetime time.Duration) (browsers []*browser, expire func()) {
	w.t.Helper()
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = lifetime })
	for range n {
		browsers = append(browsers, w.signedIn())
	}
	end := time.Now().Truncate(time.Second).Add(lifetime) // as it is counted, from the whole second
	w.sim.Set(func(s *simulator.Settings) { s.TokenLifetime = time.Hour })
	return browsers, func() {
		waitUntil(w.t, "the tokens to expire", func() bool { return time.Now().After(end) })
	}
}

// recover waits until the browsers' sessions go on: the next attempts to
// refresh them follow by themselves.
func (w *world) recover(t *testing.T, browsers []*browser) {
	t.Helper()
	for i, b := range browsers {
		waitUntil(t, fmt.Sprintf("session %d to go on", i), func() bool {
			return b.navigate(w.Site+"/page").StatusCode == http.StatusOK
		})
	}
}

// TestHostileTokenEndpoint: whatever answers in the token endpoint's place, at
// a login and at a refresh, is asked once, believed nothing and followed
// nowhere, and leaves nothing of it in what is shown and written. Then all goes
// on as before.
func TestHostileTokenEndpoint(t *testing.T) {
	w, impostor := startImpostor(t, func(w *world) {
		w.Options = "scopes info accounts offline_access"
		w.After = "request_header X-Scopes {http.truelayer.scopes}"
	})
	calls := func() int { return impostor.calls(tokenPath) }
	answers := hostileAnswers(t, w.App)
	browsers, expire := w.shortLived(len(answers)+len(refreshedScopes), time.Second)
	for name, answer := range answers {
		t.Run("login/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, answer)
			w.loginFails(t, calls, http.StatusBadGateway, "auth_server_unavailable")
			impostor.answers(tokenPath, nil)
			w.signedIn()
		})
	}
	expire()
	next := 0
	for name, answer := range answers {
		b := browsers[next]
		next++
		t.Run("refresh/"+name, func(t *testing.T) {
			impostor.answers(tokenPath, answer)
			w.refreshFails(t, b, calls)
		})
	}
	if n, _ := w.app.requests(); n > 0 {
		t.Errorf("the application got %d requests", n)
	}
	for scope, want := range refreshedScopes {
		b := browsers[next]
		next++
		impostor.answers(tokenPath, says(`{"access_token":"opaque","token_type":"Bearer","expires_in":3600`+scope+`}`))
		equal(t, "status with"+scope, b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
		_, got := w.app.requests()
		equal(t, "Authorization with"+scope, got.Header.Get("Authorization"), "Bearer opaque")
		equal(t, "scopes with"+scope, got.Header.Get("X-Scopes"), want)
	}
	impostor.answers(tokenPath, nil)
	w.recover(t, browsers)
}

// refreshedScopes are what a refresh may say, and what the application is told:
// other scopes than were asked for are the auth server's to grant.
var refreshedScopes = map[string]string{
	``:                        "info accounts offline_access",
	`,"scope":null`:           "info accounts offline_access",
	`,"scope":""`:             "info accounts offline_access",
	`,"scope":"info"`:         "info",
	`,"scope":"info balance"`: "info balance",
	`,"scope":"payments"`:     "payments",
}
