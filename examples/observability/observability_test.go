package observability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The documents that these files refer to.
const (
	troubleshooting = "../../docs/troubleshooting.md"
	metrics         = "../../docs/observability.md"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // a file of ours
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// promtool runs Prometheus's own tool, which has to find no mistake.
func promtool(t *testing.T, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, "promtool", arguments...).CombinedOutput() //nolint:gosec // a program of the tests' own
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%v; it is in the Debian package prometheus", err)
	}
	if err != nil {
		t.Fatalf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

// TestPrometheus: Prometheus accepts its configuration and the alerts, and the alerts
// fire when they should, and only then.
func TestPrometheus(t *testing.T) {
	promtool(t, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")
	promtool(t, "test", "rules", "alerts_test.yml")
}

// TestScrape: Prometheus asks where Caddy answers.
func TestScrape(t *testing.T) {
	target := regexp.MustCompile(`job_name: caddy\n.+\n +- targets: \["([^"]+)"\]`).FindStringSubmatch(read(t, "prometheus.yml"))
	if target == nil || !strings.Contains(read(t, "Caddyfile"), "\nhttp://"+target[1]+" {\n\tbind 127.0.0.1\n\tmetrics /metrics\n}\n") {
		t.Errorf("prometheus.yml has the target %q, and no such site of the Caddyfile has metrics", target)
	}
}

// blocks splits a file before each line that begins so, and leaves out what comes before
// the first one.
func blocks(text, begin string) []string { return strings.Split(text, "\n"+begin)[1:] }

// alerts returns the text of each alert in alerts.yml.
func alerts(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, block := range blocks(read(t, "alerts.yml"), "      - ") {
		if name, ok := strings.CutPrefix(block, "alert: "); ok {
			name, text, _ := strings.Cut(name, "\n")
			found[name] = text
		}
	}
	if len(found) < 5 {
		t.Fatalf("alerts.yml has only %d alerts that this test can read", len(found))
	}
	return found
}

// TestAlertsAreTested: for each alert there is a test in which it fires, with the labels
// that its annotations name, and another one in which it is silent.
func TestAlertsAreTested(t *testing.T) {
	tests := blocks(read(t, "alerts_test.yml"), "  - name: ")
	for name, text := range alerts(t) {
		fires, silent := "", false
		for _, test := range tests {
			expected := regexp.MustCompile(`labels: (ALERTS\{alertname="` + name + `".*\})`).FindString(test)
			switch {
			case strings.HasPrefix(test, name+" fires "):
				fires = expected
			case strings.HasPrefix(test, name+" stays silent "):
				silent = silent || expected == ""
			}
		}
		if fires == "" || !silent {
			t.Errorf("%s: the test in which it fires expects %q; one in which it is silent: %v", name, fires, silent)
		}
		for _, label := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(fires, " "+label[1]+"=") {
				t.Errorf("the annotations of %s name the label %s, which it does not have: %s", name, label[1], fires)
			}
		}
	}
}

// TestAlertsSayWhatToDo: each alert has a severity and the annotations, and the sections
// that it refers to exist.
func TestAlertsSayWhatToDo(t *testing.T) {
	document := read(t, troubleshooting)
	for name, text := range alerts(t) {
		for _, part := range []string{`severity: (page|ticket)\n`, `summary: .+\n`, `description: >-\n`, `\bdocs/\w+\.md\b`} {
			if !regexp.MustCompile(part).MatchString(text) {
				t.Errorf("%s has no %q", name, part)
			}
		}
		for _, link := range regexp.MustCompile(`docs/troubleshooting\.md#([\w-]+)`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(document, "\n### "+link[1]+"\n") {
				t.Errorf("%s refers to %s, which is no section", name, link[0])
			}
		}
	}
}

// dashboard is what the tests need to know of a Grafana dashboard.
type dashboard struct {
	Panels []struct {
		ID          int
		Type        string
		Title       string
		Description string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboardPanels: panels have ids of their own, lie side by side, and say what they
// show.
func TestDashboardPanels(t *testing.T) {
	panels := readDashboard(t).Panels
	for i, p := range panels {
		if g := p.GridPos; g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%q does not lie in the grid: %+v", p.Title, g)
		}
		if isRow := p.Type == "row"; p.Title == "" || !isRow && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d has no title, no description or no query", p.ID)
		}
		for _, other := range panels[:i] {
			a, b := p.GridPos, other.GridPos
			if p.ID == other.ID || a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q and %q overlap or have the same id", p.Title, other.Title)
			}
		}
	}
}

// TestDashboardQueries: Prometheus can read the queries.
func TestDashboardQueries(t *testing.T) {
	variables := strings.NewReplacer("$site", ".*", "$__rate_interval", "1m")
	var rules []map[string]string
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			rules = append(rules, map[string]string{"record": fmt.Sprintf("query:%d", len(rules)), "expr": variables.Replace(target.Expr)})
		}
	}
	if len(rules) < 15 {
		t.Fatalf("the dashboard has only %d queries that this test can read", len(rules))
	}
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}}) // YAML, too
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// TestMetricsExist: docs/observability.md has each metric that the files name.
func TestMetricsExist(t *testing.T) {
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(read(t, metrics), -1) {
		documented = append(documented, row[1])
	}
	if len(documented) < 15 {
		t.Fatalf("%s has only %d metrics that this test can read: %q", metrics, len(documented), documented)
	}
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json"} {
		for _, name := range regexp.MustCompile(`\bcaddy_truelayer_(\w+)`).FindAllStringSubmatch(read(t, file), -1) {
			series := regexp.MustCompile(`_seconds_(bucket|count|sum)$`).ReplaceAllString(name[1], "_seconds")
			if !slices.Contains(documented, series) {
				t.Errorf("%s names %s, which is not in %s", file, name[0], metrics)
			}
		}
	}
}
