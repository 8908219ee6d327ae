package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// audited is a site whose audit trail has a file of its own, as docs/observability.md
// shows it.
var audited = strings.Replace(plain, "output file {{.Log}}", `output file {{.Log}}
		exclude http.handlers.truelayer.audit
	}
	log audit {
		include http.handlers.truelayer.audit
		output file {{.Data}}/audit.log
		format filter {
			client_ip ip_mask 24 48
		}`, 1)

func startAudited(t *testing.T, options, global string) *world {
	t.Helper()
	return start(t, audited, func(w *world) {
		w.Options = "scopes verification offline_access\n" + options
		w.Global = strings.ReplaceAll(global, "DATA", w.Data)
	})
}

// trail returns the lines of the audit trail.
func (w *world) trail() []map[string]any {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.Data, "audit.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return lines(w.t, string(text), "")
}

// events are the names of the events in the trail.
func (w *world) events() (names []string) {
	w.t.Helper()
	for _, line := range w.trail() {
		names = append(names, fmt.Sprint(line["event"]))
	}
	return names
}

// TestAuditTrail: an auditor reads who connected and disconnected, and when, in lines
// that all have the same fields.
func TestAuditTrail(t *testing.T) {
	w := startAudited(t, "disconnect_on logout", "")
	b := w.signedIn()
	b.do(http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
	waitUntil(t, "the disconnect", func() bool { return len(w.trail()) == 3 })
	w.browser().navigate(w.Site + "/truelayer?error=access_denied")
	w.browser().navigate(w.Site + "/truelayer") // no login

	refreshed := w.signedInExpired()
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusBadGateway})
	equal(t, "status", refreshed.navigate(w.Site+"/page").StatusCode, http.StatusServiceUnavailable)
	over := w.signedInExpired()
	w.sim.RevokeConsents()
	for range 3 {
		over.navigate(w.Site + "/page")
	}
	want := []string{"login", "logout", "disconnected", "login_failed", "login", "refresh_failed", "login", "consent_ended"}
	if got := w.events(); !slices.Equal(got, want) {
		t.Fatalf("the trail has %q, want %q", got, want)
	}
	trail := w.trail()
	fields := []string{"client_ip", "connection", "event", "level", "logger", "msg", "provider", "reason", "request_id", "scopes", "session", "site", "ts"}
	for _, line := range trail {
		if got := slices.Sorted(maps.Keys(line)); !slices.Equal(got, fields) {
			t.Errorf("a line has the fields %q, want %q", got, fields)
		}
		if line["logger"] != "http.handlers.truelayer.audit" || line["level"] != "info" || line["site"] != strings.TrimPrefix(w.Site, "http://")+"/truelayer" {
			t.Errorf("%v", line)
		}
		if line["client_ip"] != "127.0.0.0" && line["client_ip"] != "::" || line["request_id"] == "" {
			t.Errorf("%s: nobody did it: %v", line["event"], line)
		}
		if failed := line["event"] == "login_failed"; failed == regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(fmt.Sprint(line["session"])) {
			t.Errorf("the session is %v", line["session"])
		}
	}
	for i, reason := range map[int]string{3: "access_denied", 5: "auth_server_unavailable", 7: ""} {
		equal(t, "reason", trail[i]["reason"], any(reason))
	}
	for _, line := range trail[:3] {
		if line["session"] != trail[0]["session"] || line["connection"] != trail[0]["connection"] || line["provider"] != "mock" || line["scopes"] != "verification offline_access" {
			t.Errorf("%v is another session than %v", line, trail[0])
		}
	}
	if log := w.log.text(t); strings.Contains(log, "truelayer.audit") {
		t.Error("the default log has the audit trail as well")
	}
}

// TestAuditTrailOfThoseWhoLeave: a session that began is in the trail also if its
// visitor has gone, with the visitor's address.
func TestAuditTrailOfThoseWhoLeave(t *testing.T) {
	w := startAudited(t, "", "")
	b := w.browser()
	answer := w.leaveDuringTokenRequest(b, w.approve(b, w.Site+"/page"))
	equal(t, "exchanges in flight", w.series()["exchanges_in_flight"], 1)
	answer()
	waitUntil(t, "the line", func() bool { return len(w.trail()) == 1 })
	if line := w.trail()[0]; line["event"] != "login" || line["client_ip"] == "" {
		t.Errorf("%v", line)
	}
}

func init() { caddy.RegisterModule(new(keptEvents)) }

// keptEvents is a handler of events that writes them to a file. It waits for hold first.
type keptEvents struct {
	File string `json:"file"`

	mu sync.Mutex
}

var holdEvents = make(chan struct{})

func (*keptEvents) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.kept", New: func() caddy.Module { return new(keptEvents) }}
}

func (k *keptEvents) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.AllArgs(&k.File)
	return nil
}

func (k *keptEvents) Handle(ctx context.Context, e caddy.Event) error {
	select {
	case <-holdEvents:
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	text, err := json.Marshal(e.CloudEvent())
	if err != nil {
		return err
	}
	file, err := os.OpenFile(k.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(text, '\n'))
	return err
}

var _ caddyevents.Handler = (*keptEvents)(nil)

// TestEvents: what the audit trail has, Caddy's events have too. Their handlers make no
// request wait; what they are too slow for is dropped and counted, and not lost from the
// trail.
func TestEvents(t *testing.T) {
	w := startAudited(t, "", "events {\n\t\ton truelayer_login kept DATA/events.log\n\t\ton truelayer_login_failed kept DATA/events.log\n\t}")
	w.signedIn() // while the handler waits
	const failures = 300
	for range failures {
		w.browser().navigate(w.Site + "/truelayer?error=access_denied")
	}
	equal(t, "lines in the trail", len(w.trail()), failures+1)
	dropped := int(w.series()["events_dropped_total"])
	if dropped == 0 || dropped > failures-200 {
		t.Errorf("%d events are dropped", dropped)
	}
	holdEvents <- struct{}{} // one goes on
	events := func() []map[string]any {
		text, _ := os.ReadFile(filepath.Join(w.Data, "events.log"))
		return lines(t, string(text), "")
	}
	waitUntil(t, "the first event", func() bool { return len(events()) == 1 })
	event, line := events()[0], w.trail()[0]
	data, _ := event["data"].(map[string]any)
	if event["type"] != "truelayer_login" || event["source"] != "http.handlers.truelayer" {
		t.Errorf("%v", event)
	}
	equal(t, "client_ip", data["client_ip"], any("127.0.0.1")) // the filter is that of a log
	for _, field := range []string{"event", "site", "session", "connection", "provider", "scopes", "reason", "request_id"} {
		if data[field] != line[field] {
			t.Errorf("%s is %v in the event and %v in the trail", field, data[field], line[field])
		}
	}
	// a new configuration drops what is left, and Caddy complains of nothing
	if err := w.load(plain); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the rest to be dropped", func() bool { return int(w.series()["events_dropped_total"]) >= failures-2 })
	if log := w.log.text(t); strings.Contains(log, "event handling stopped") {
		t.Error("Caddy logs events that came too late as errors")
	}
}
