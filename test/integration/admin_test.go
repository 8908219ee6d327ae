package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// startAdmin starts a site with Caddy's admin endpoint, and an audit trail in a file.
func startAdmin(t *testing.T, options string) *world {
	t.Helper()
	return start(t, strings.Replace(audited, "admin off", "admin localhost:{{.Port2}}", 1), func(w *world) {
		w.Options = "scopes verification offline_access\n" + options
	})
}

// admin calls the admin endpoint and returns the status and the answer.
func (w *world) admin(method, path, body string, fields ...string) (int, map[string]any) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, fmt.Sprintf("http://localhost:%d/truelayer/%s", w.Port2, path), strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(fields, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	r.Close = true // a reload replaces the endpoint
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s %s: %d %v %s: %v", method, path, resp.StatusCode, resp.Header, text, err)
	}
	return resp.StatusCode, answer
}

// listed returns the ids of the sessions that an operator sees, by all pages.
func (w *world) listed(query string, fields ...string) (ids []string) {
	w.t.Helper()
	cursor := ""
	for {
		status, answer := w.admin(http.MethodGet, "sessions?limit=1&cursor="+cursor+query, "", fields...)
		equal(w.t, "status", status, http.StatusOK)
		for _, s := range answer["sessions"].([]any) {
			if id := s.(map[string]any)["id"].(string); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if cursor, _ = answer["next"].(string); cursor == "" {
			return ids
		}
	}
}

// TestSessionsOfTheOperator: an operator lists, counts and ends sessions of a store, and
// nobody else's.
func TestSessionsOfTheOperator(t *testing.T) {
	for _, store := range []string{"memory", "storage {\ncache_ttl 0\n}"} {
		t.Run(store[:6], func(t *testing.T) {
			w := startAdmin(t, "store "+store)
			visitor, neighbour := w.signedIn(), w.signedIn()
			equal(t, "sessions", len(w.listed("")), 2)
			site := strings.TrimPrefix(w.Site, "http://") + "/truelayer"
			equal(t, "of the site", len(w.listed("&site="+site+"&provider=mock&client_id="+clientID)), 2)
			equal(t, "of another bank", len(w.listed("&provider=ob-monzo")), 0)
			_, counted := w.admin(http.MethodGet, "sessions/count", "")
			if want := `map[counts:[map[provider:mock sessions:2 site:` + site + `]] estimate:false total:2]`; fmt.Sprint(counted) != want {
				t.Errorf("counted %v, want %s", counted, want)
			}
			connection := w.trail()[0]["connection"].(string)
			ids := w.listed("", "Truelayer-Connection", connection)
			equal(t, "of the connection", len(ids), 1)
			_, one := w.admin(http.MethodGet, "sessions", "", "Truelayer-Connection", connection)
			first := one["sessions"].([]any)[0].(map[string]any)
			for _, field := range []string{"created", "last_seen", "expires"} {
				if _, err := time.Parse(time.RFC3339, first[field].(string)); err != nil {
					t.Errorf("%s: %v", field, err)
				}
			}

			status, answer := w.admin(http.MethodDelete, "sessions/"+ids[0], "")
			equal(t, "status", status, http.StatusOK)
			equal(t, "revoked", fmt.Sprint(answer), "map[failed:0 revoked:1]")
			status, _ = w.admin(http.MethodDelete, "sessions/"+ids[0], "")
			equal(t, "status of the second time", status, http.StatusNotFound)
			equal(t, "sessions", len(w.listed("")), 1)
			equal(t, "the neighbour", neighbour.navigate(w.Site+"/page").StatusCode, http.StatusOK)
			w.tellsOnce(t, visitor)
			equal(t, "ended", w.series()["sessions_ended_total{cause=revoked}"], 1)

			want := []string{"login", "login", "session_revoked", "revocation", "revocation"}
			if got := w.events(); !slices.Equal(got[:5], want) {
				t.Fatalf("the trail has %q, want %q", got, want)
			}
			revoked, call := w.trail()[2], w.trail()[3]
			equal(t, "session in the trail", revoked["session"], any(ids[0][:16]))
			if revoked["client_ip"] == "" || call["client_ip"] == "" || call["count"] != "1" || call["filter"] != `{"id":"`+ids[0][:16]+`"}` {
				t.Errorf("%v, %v", revoked, call)
			}
		})
	}
}

// tellsOnce checks that a visitor whose session an operator has ended is told so once.
func (w *world) tellsOnce(t *testing.T, visitor *browser) {
	t.Helper()
	for range 2 { // no script uses that up
		a := visitor.fetch(w.Site + "/page")
		equal(t, "status for a script", a.StatusCode, http.StatusUnauthorized)
		equal(t, "reason", a.problem(t)["reason"], any("session_revoked"))
	}
	info := w.info(visitor)
	equal(t, "connected", info["connected"], any(false))
	equal(t, "reason for a front end", info["reason"], any("session_revoked"))
	form := visitor.do(http.MethodPost, w.Site+"/page", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin")
	equal(t, "status for a form", form.StatusCode, http.StatusUnauthorized)
	stolen := visitor.cookies(w.Site)
	page := visitor.navigate(w.Site + "/page")
	equal(t, "status for a person", page.StatusCode, http.StatusUnauthorized)
	if !strings.Contains(page.body, "have ended your session") || !strings.Contains(page.body, "session_revoked") || !strings.Contains(page.body, "/truelayer/login?return=%2Fpage") {
		t.Errorf("the page says %s", page.body)
	}
	equal(t, "cookies left", visitor.cookies(w.Site), "")
	equal(t, "then", visitor.navigate(w.Site+"/page").StatusCode, http.StatusSeeOther)
	replayed := w.browser().do(http.MethodGet, w.Site+"/page", append([]string{"Cookie", stolen}, asNavigation...)...)
	if replayed.StatusCode == http.StatusOK {
		t.Error("the old cookie opens something")
	}
}

// TestRevoke: a filter ends what it selects, an empty one nothing, and a refresh under way
// does not bring a session back: the request that waits for it is told.
func TestRevoke(t *testing.T) {
	w := startAdmin(t, "")
	for body, want := range map[string]int{
		"":                                http.StatusBadRequest,
		"{}":                              http.StatusBadRequest,
		`{"all":false}`:                   http.StatusBadRequest,
		`{"all":true,"provider":"mock"}`:  http.StatusBadRequest,
		`{"who":"everybody"}`:             http.StatusBadRequest,
		`{"site":"elsewhere.example"}`:    http.StatusNotFound,
		`{"provider":"ob-monzo"}`:         http.StatusOK,
		`{"connection":"made up"}`:        http.StatusOK,
		`{"client_id":"somebody else's"}`: http.StatusOK,
	} {
		status, answer := w.admin(http.MethodPost, "sessions/revoke", body, "Content-Type", "application/json")
		equal(t, body, status, want)
		if status == http.StatusOK && answer["revoked"] != any(0.0) {
			t.Errorf("%s: %v", body, answer)
		}
	}
	b := w.signedInExpired()
	others := []*browser{w.signedIn(), w.signedIn()}
	hold := make(chan struct{})
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	waiting := make(chan *answer)
	go func() { waiting <- b.navigate(w.Site + "/page") }()
	waitUntil(t, "the refresh", func() bool { return w.series()["refreshes_in_flight"] == 1 })
	before, _ := w.app.requests()
	status, answer := w.admin(http.MethodPost, "sessions/revoke", `{"all":true}`)
	equal(t, "status", status, http.StatusOK)
	equal(t, "revoked", fmt.Sprint(answer), "map[failed:0 revoked:3]")
	close(hold)
	a := <-waiting
	equal(t, "status of the request that waited", a.StatusCode, http.StatusUnauthorized)
	if !strings.Contains(a.body, "session_revoked") {
		t.Error(a.body)
	}
	for _, other := range others {
		w.tellsOnce(t, other)
	}
	after, _ := w.app.requests()
	equal(t, "requests upstream", after-before, 0)
	equal(t, "sessions", len(w.listed("")), 0)
	if got := w.events(); slices.Contains(got, "refresh_failed") {
		t.Errorf("a refresh that was overtaken is told as a failure: %q", got)
	}
}

// TestRevokedThenConnected: whoever was signed out by an operator can connect again at
// once, from the page or at the login URL, and a callback under way is no dead end.
func TestRevokedThenConnected(t *testing.T) {
	w := startAdmin(t, "")
	b := w.signedIn()
	_, _ = w.admin(http.MethodPost, "sessions/revoke", `{"all":true}`)
	sent := b.navigate(w.Site + "/truelayer/login?return=/page")
	equal(t, "the login URL", sent.StatusCode, http.StatusSeeOther)
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the callback", b.navigate(callback).location(), "/page")
	equal(t, "the page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	equal(t, "sign out page", b.navigate(w.Site+"/truelayer/logout").StatusCode, http.StatusOK)
}

// TestAdminRefuses: what is asked wrongly gets a clear answer in JSON.
func TestAdminRefuses(t *testing.T) {
	w := startAdmin(t, "")
	for request, want := range map[string]int{
		"GET sessions?connection=x":                  http.StatusBadRequest,
		"GET sessions?limit=0":                       http.StatusBadRequest,
		"GET sessions?limit=1000000":                 http.StatusBadRequest,
		"GET sessions?cursor=x":                      http.StatusBadRequest,
		"GET sessions?site=elsewhere":                http.StatusNotFound,
		"DELETE sessions/x":                          http.StatusBadRequest,
		"DELETE sessions":                            http.StatusMethodNotAllowed,
		"POST health/ready":                          http.StatusMethodNotAllowed,
		"GET nothing":                                http.StatusNotFound,
		"DELETE sessions/" + strings.Repeat("0", 64): http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(request, " ")
		status, answer := w.admin(method, path, "")
		equal(t, request, status, want)
		if text, _ := answer["error"].(string); text == "" {
			t.Errorf("%s: %v", request, answer)
		}
	}
	if log := w.log.text(t); strings.Contains(log, "panic") {
		t.Error(log)
	}
}

// TestHealth: a probe learns whether the store answers.
func TestHealth(t *testing.T) {
	storeDown.Store(false)
	w := startAdmin(t, "store faulty")
	for _, probe := range []string{"live", "ready"} {
		status, answer := w.admin(http.MethodGet, "health/"+probe, "")
		equal(t, "status", status, http.StatusOK)
		equal(t, "answer", fmt.Sprint(answer), "map[status:"+probe+"]")
	}
	storeDown.Store(true)
	defer storeDown.Store(false)
	status, answer := w.admin(http.MethodGet, "health/ready", "")
	equal(t, "status", status, http.StatusServiceUnavailable)
	if reason, _ := answer["reason"].(string); answer["status"] != "not ready" || !strings.Contains(reason, "the store faulty of "+strings.TrimPrefix(w.Site, "http://")+"/truelayer does not answer") {
		t.Errorf("%v", answer)
	}
	status, _ = w.admin(http.MethodGet, "health/live", "")
	equal(t, "live", status, http.StatusOK)
	// without a block there is nothing to be ready
	if err := w.load("{\n\tadmin localhost:{{.Port2}}\n\tpersist_config off\n}\nhttp://localhost:{{.Port}} {\n\trespond hello\n}\n"); err != nil {
		t.Fatal(err)
	}
	status, answer = w.admin(http.MethodGet, "health/ready", "")
	equal(t, "status without a block", status, http.StatusServiceUnavailable)
	equal(t, "reason", answer["reason"], any("no configuration with a truelayer block is loaded"))
}
