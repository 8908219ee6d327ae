package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stallingSite has a login for each server that can stop in the middle of an
// answer: two token endpoints and two key sets.
const stallingSite = `{
	admin off
	persist_config off
	grace_period 1s
	storage file_system {{.Data}}
}
(login) {
	truelayer /{args[0]} {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}{args[1]}
		auth_server   {{.AuthServer}}{args[2]}
		{block}
	}
}
http://localhost:{{.Port}} {
	import login token-header /truelayer /header
	import login token-body   /second    /body
	import login keys-header  /third     "" {
		verify_access_token {{.AuthServer}}/header/keys
	}
	import login keys-body /bank/truelayer "" {
		verify_access_token {{.AuthServer}}/body/keys
	}
	reverse_proxy {{.App}}
}
`

// stalling returns an answer that stops in its header, one that stops in its
// body, and what ends both.
func stalling(t *testing.T) (header, body http.HandlerFunc, end func()) {
	t.Helper()
	hold := make(chan struct{})
	wait := func(r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
	}
	header = func(_ http.ResponseWriter, r *http.Request) { wait(r) }
	body = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"keys":["canary`)
		_ = http.NewResponseController(w).Flush()
		wait(r)
	}
	return header, body, func() { close(hold) }
}

// TestStallingLogin: a login that gets no answer, or half of one, ends with a
// page or a problem, a line in the log, and no session. What ends it is the
// bound on a call, 15 seconds; all of them wait for it at once.
func TestStallingLogin(t *testing.T) {
	w, impostor := startWithImpostor(t, stallingSite, nil)
	header, body, end := stalling(t)
	t.Cleanup(end)
	impostor.answers("/header"+tokenPath, header)
	impostor.answers("/body"+tokenPath, body)
	impostor.answers("/header/keys", header)
	impostor.answers("/body/keys", body)
	type result struct {
		name, reason string
		status       int
		page         bool
		*answer
	}
	sent, results := 0, make(chan result)
	for name, want := range map[string]result{
		"token-header": {reason: "auth_server_unavailable", status: http.StatusBadGateway},
		"token-body":   {reason: "auth_server_unavailable", status: http.StatusBadGateway},
		"keys-header":  {reason: "token_unverified", status: http.StatusServiceUnavailable},
		"keys-body":    {reason: "token_unverified", status: http.StatusServiceUnavailable},
	} {
		for _, page := range []bool{true, false} {
			b := w.browser()
			callback, err := w.sim.Grant(b.navigate(w.Site + "/" + name).location())
			if err != nil {
				t.Fatal(name, err)
			}
			sent++
			go func() {
				fields := asNavigation
				if !page {
					fields = asFetch
				}
				got := want
				got.name, got.page = fmt.Sprintf("%s, page %v", name, page), page
				if got.answer, err = b.try(t.Context(), http.MethodGet, callback, fields...); err != nil {
					got.answer = &answer{&http.Response{}, err.Error()}
				}
				results <- got
			}()
		}
	}
	for range sent {
		got := <-results
		equal(t, got.name, got.StatusCode, got.status)
		if !strings.Contains(got.body, got.reason) || strings.Contains(got.body, "canary") {
			t.Errorf("%s: want %s, got %.500s", got.name, got.reason, got.body)
		}
		equal(t, got.name+": cookies", len(got.Header.Values("Set-Cookie")), 0)
		if got.page {
			asPage(t, got.answer)
		} else {
			asProblem(t, got.answer, got.reason)
		}
	}
	lines := make(map[string]int)
	for line := range strings.SplitSeq(diagnostics(w.log.text(t)), "\n") {
		_, reason, ours := strings.Cut(line, `,"reason":"`)
		if !ours {
			continue
		}
		reason, _, _ = strings.Cut(reason, `"`)
		lines[reason]++
		// that of a key set does not always name the bound
		if !strings.Contains(line, "Client.Timeout") && !strings.Contains(line, "timeout awaiting response headers") && !strings.Contains(line, `/keys\": `) {
			t.Errorf("not ended by the bound on a call: %s", line)
		}
	}
	equal(t, "lines in the log", fmt.Sprint(lines), "map[auth_server_unavailable:4 token_unverified:4]")
	for _, path := range []string{"/header" + tokenPath, "/body" + tokenPath} {
		equal(t, "token requests to "+path, impostor.calls(path), 2)
	}
	if strings.Contains(w.log.text(t), "canary") {
		t.Error("the log repeats the answer")
	}
}

// TestStallingRefresh: a refresh is bounded by refresh_timeout, wherever the
// token endpoint or the key set stops, and the session goes on when they do.
func TestStallingRefresh(t *testing.T) {
	w, impostor := startImpostor(t, func(w *world) {
		w.Options = "scopes info offline_access\n\t\trefresh_timeout 1s"
	})
	header, body, end := stalling(t)
	if err := w.load(verifying); err != nil {
		t.Fatal(err)
	}
	browsers, expire := w.shortLived(4, time.Second)
	expire()
	stalls := func(name, path string, b *browser, answer http.HandlerFunc) {
		t.Run(name, func(t *testing.T) {
			impostor.answers(path, answer)
			since := w.log.mark(t)
			before := impostor.calls(tokenPath)
			a := w.failsCalmly(t, b.fetch, w.Site+"/page", http.StatusServiceUnavailable, "token_unavailable")
			asProblem(t, a, "token_unavailable")
			equal(t, "token requests", impostor.calls(tokenPath)-before, 1)
			// the request may give up a moment before the refresh does
			var line string
			waitUntil(t, "the refresh to fail", func() bool {
				_, after, failed := strings.Cut(since(), "refreshing an access token failed")
				line, _, _ = strings.Cut(after, "\n")
				return failed
			})
			if strings.Contains(line, "Client.Timeout") || strings.Contains(line, "awaiting response headers") || !strings.Contains(line, "context deadline exceeded") {
				t.Errorf("not ended by refresh_timeout: %s", line)
			}
			impostor.answers(path, nil)
		})
	}
	stalls("token endpoint, header", tokenPath, browsers[0], header)
	stalls("token endpoint, body", tokenPath, browsers[1], body)
	if err := w.load(verifying); err != nil { // whose key set has not been fetched
		t.Fatal(err)
	}
	stalls("key set, header", keySetPath, browsers[2], header)
	if err := w.load(verifying); err != nil {
		t.Fatal(err)
	}
	stalls("key set, body", keySetPath, browsers[3], body)
	end()
	w.recover(t, browsers)
}
