package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines are the lines of a log with a message, or all of them if it is "".
func lines(t *testing.T, text, message string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if message == "" || fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// TestStartLine: a block says once what it does.
func TestStartLine(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Matcher = "/account*" })
	found := lines(t, w.log.text(t), "a truelayer block is set up")
	if len(found) != 1 {
		t.Fatalf("%v", found)
	}
	for field, want := range map[string]any{
		"redirect_uri": w.Site + "/truelayer", "environment": "live", "auth_server": w.AuthServer, "store": "memory",
		"idle_timeout": 28800.0, "max_lifetime": 86400.0, "guards": `[{"path":["/account*"]}]`,
	} {
		equal(t, field, found[0][field], want)
	}
}

// TestLifeOfASession: the log has one line for each thing that happens to a session,
// with who it happened to, and so has the access log.
func TestLifeOfASession(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = "log {\n\t\toutput file " + w.Data + "/access.log\n\t\tformat filter {\n\t\t\trequest>uri truelayer\n\t\t\tresp_headers>Location truelayer\n\t\t}\n\t}"
	})
	b := w.signedIn()
	info := w.info(b)
	equal(t, "connected", info["connected"], any(true))
	b.do("POST", w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate")
	begun, ended := lines(t, w.log.text(t), "a session has begun"), lines(t, w.log.text(t), "a visitor has signed out")
	if len(begun) != 1 || len(ended) != 1 {
		t.Fatalf("%v, %v", begun, ended)
	}
	connection, _ := begun[0]["connection"].(string)
	if connection == "" || ended[0]["connection"] != any(connection) {
		t.Errorf("%v, %v", begun, ended)
	}
	for _, line := range append(begun, ended...) {
		if line["provider"] != "mock" || line["client_ip"] == "" || line["request_id"] == "" || line["level"] != "info" {
			t.Errorf("%v", line)
		}
	}
	access, err := os.ReadFile(filepath.Join(w.Data, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	users := make(map[string]bool)
	for _, line := range lines(t, string(access), "") {
		request, _ := line["request"].(map[string]any)
		uri, _ := request["uri"].(string)
		path, _, _ := strings.Cut(uri, "?")
		if line["user_id"] == any(connection) {
			users[path] = true
		}
	}
	for _, path := range []string{"/truelayer", "/truelayer/logout"} {
		if !users[path] {
			t.Errorf("the access log has no user for %s: %s", path, access)
		}
	}
}
