package truelayer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// jsonFields are the names of a configuration type's fields.
func jsonFields[T any](t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for field := range reflect.TypeFor[T]().Fields() {
		if tag := field.Tag.Get("json"); tag != "" {
			name, _, _ := strings.Cut(tag, ",")
			names[name] = true
		}
	}
	return names
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // a document of ours
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExamples: each example loads, and is formatted as Caddy formats it.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	folders, err := filepath.Glob("examples/*/Caddyfile")
	if err != nil || len(folders) < 2 {
		t.Fatal(folders, err)
	}
	for _, file := range append(files, folders...) {
		t.Run(file, func(t *testing.T) {
			text := read(t, file)
			if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
				t.Errorf("caddy fmt would write:\n%s", formatted)
			}
			validate(t, text)
		})
	}
}

// validate loads a Caddyfile as `caddy validate` would.
func validate(t *testing.T, text string) {
	t.Helper()
	data := t.TempDir()
	for name, value := range map[string]string{
		"XDG_DATA_HOME": data, "XDG_CONFIG_HOME": data,
		"DEMO_PORT": "8080", "DEMO_APP": "127.0.0.1:8081", "DEMO_DATA": data, "DEMO_FILES": data,
		"DEMO_AUTH_SERVER": "http://127.0.0.1:8082", "DEMO_API": "http://127.0.0.1:8082",
	} {
		t.Setenv(name, value)
	}
	for _, name := range regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(text, -1) {
		value := "sandbox-value"
		if strings.HasSuffix(name[1], "_HASH") { // of a password
			value = "$2a$04$QkRxX1v8CgoVlzkI2T0bReyLE0ZziDHJg0zR2dp1GfbjjRQ6QxsVS"
		}
		t.Setenv(name[1], value)
	}
	text = strings.ReplaceAll(text, "/var/log/caddy", data) // Caddy opens the files
	for _, secret := range regexp.MustCompile(`\{file\.(/[^}]+)\}`).FindAllStringSubmatch(text, -1) {
		file := filepath.Join(data, filepath.Base(secret[1]))
		if err := os.WriteFile(file, []byte("sandbox-value\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, secret[1], file)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	var c caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	c.StorageRaw = json.RawMessage(fmt.Sprintf(`{"module": "file_system", "root": %q}`, data))
	if err := caddy.Validate(&c); err != nil {
		t.Fatal(err)
	}
}

// documents returns the paths of the project's documents.
func documents(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		matches, err := filepath.Glob(pattern)
		if err != nil || len(matches) == 0 {
			t.Fatal(pattern, matches, err)
		}
		paths = append(paths, matches...)
	}
	return paths
}

// TestDocumentsCaddyfiles: each Caddyfile in the documents can be loaded. A
// block that begins with the directive is put into a site.
func TestDocumentsCaddyfiles(t *testing.T) {
	block := regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	found := 0
	for _, document := range documents(t) {
		for i, match := range block.FindAllStringSubmatch(read(t, document), -1) {
			found++
			t.Run(fmt.Sprintf("%s %d", document, i+1), func(t *testing.T) {
				text := match[1]
				if !regexp.MustCompile(`(?m)^\S+ \{$|^\{$`).MatchString(text) || regexp.MustCompile(`^(truelayer|route|header|map)\b`).MatchString(text) {
					text = "app.example.com {\n" + text + "\n}\n"
				}
				validate(t, text)
			})
		}
	}
	if found == 0 {
		t.Error("no Caddyfile in the documents")
	}
}

// section returns what stands below a heading of a document, up to the next
// heading of the same level.
func section(t *testing.T, document, heading string) string {
	t.Helper()
	marks, _, _ := strings.Cut(heading, " ")
	_, text, found := strings.Cut(read(t, document), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", document, heading)
	}
	text, _, _ = strings.Cut(text, "\n"+marks+" ")
	return text
}

// TestReasonsInDocuments: docs/troubleshooting.md has an entry for each reason
// code, with the status, the level and the words that the code has.
func TestReasonsInDocuments(t *testing.T) {
	entry := regexp.MustCompile(`(?m)^### (\S+)\n\n(.+)$`)
	described := make(map[reason]string)
	for _, match := range entry.FindAllStringSubmatch(section(t, "docs/troubleshooting.md", "## Reason codes"), -1) {
		if _, twice := described[reason(match[1])]; twice {
			t.Errorf("%s is described twice", match[1])
		}
		described[reason(match[1])] = match[2]
	}
	for r, p := range problems {
		if want := fmt.Sprintf("%d, logged at %s: %q", p.status, p.level, r.text().Title); described[r] != want {
			t.Errorf("%s: docs/troubleshooting.md has %q, the code %q", r, described[r], want)
		}
		delete(described, r)
	}
	for r := range described {
		t.Errorf("docs/troubleshooting.md describes %s, which the code does not have", r)
	}
}

// TestLogLinesInDocuments: the code writes each line that docs/troubleshooting.md
// explains.
func TestLogLinesInDocuments(t *testing.T) {
	var source strings.Builder
	for _, pattern := range []string{"*.go", "redisstore/*.go", "internal/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				source.WriteString(read(t, file))
			}
		}
	}
	lines := 0
	for _, heading := range []string{"## Warnings when a configuration is loaded", "## Warnings while it runs"} {
		for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section(t, "docs/troubleshooting.md", heading), -1) {
			lines++
			if !strings.Contains(source.String(), match[1]) {
				t.Errorf("nothing logs %q", match[1])
			}
		}
	}
	if lines < 20 {
		t.Errorf("only %d lines of the log are explained", lines)
	}
}

// rows returns the first cells of a section's rows, without the characters of code.
func rows(t *testing.T, document, heading string) (cells []string) {
	t.Helper()
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section(t, document, heading), -1) {
		cells = append(cells, match[1])
	}
	slices.Sort(cells)
	return cells
}

// TestMetricsInDocuments: docs/observability.md has the metrics that a block registers,
// no more and no less.
func TestMetricsInDocuments(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	secret := "hunter2-client-secret"
	h := &Handler{ClientID: "client", ClientSecret: &secret, RedirectURI: testOrigin + "/truelayer"}
	defer func() { _ = h.Cleanup() }()
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var registered []string
	for _, family := range families {
		if name, ours := strings.CutPrefix(family.GetName(), metricsPrefix); ours {
			registered = append(registered, name)
		}
	}
	slices.Sort(registered)
	if documented := rows(t, "docs/observability.md", "## Metrics"); !slices.Equal(documented, registered) {
		t.Errorf("docs/observability.md has the metrics\n%q, the code\n%q", documented, registered)
	}
}

// TestChecksInDocuments: docs/operating.md has a row for each check of the doctor.
func TestChecksInDocuments(t *testing.T) {
	var checks []string
	for _, match := range regexp.MustCompile(`(?m)^\tcheck\w+ += "(.+)"$`).FindAllStringSubmatch(read(t, "internal/doctor/finding.go"), -1) {
		checks = append(checks, match[1])
	}
	slices.Sort(checks)
	if documented := rows(t, "docs/operating.md", "### What it checks"); len(checks) < 5 || !slices.Equal(documented, checks) {
		t.Errorf("docs/operating.md has the checks\n%q, the code\n%q", documented, checks)
	}
}

// TestAuditTrailInDocuments: docs/observability.md has the events and the fields of the
// audit trail.
func TestAuditTrailInDocuments(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	trail := &auditTrail{zap.New(core), "a site", &eventQueue{}}
	var written []string
	for event := range auditMessages {
		written = append(written, string(event))
		trail.write(t.Context(), auditLine{event: event})
	}
	for field := range logs.All()[0].ContextMap() {
		written = append(written, field)
	}
	slices.Sort(written)
	if documented := rows(t, "docs/observability.md", "## Audit trail"); !slices.Equal(documented, written) {
		t.Errorf("docs/observability.md has\n%q, the code\n%q", documented, written)
	}
}

// TestPlaceholdersInDocuments: docs/protecting-paths.md has the placeholders of
// the handler's documentation, no more and no less.
func TestPlaceholdersInDocuments(t *testing.T) {
	names := func(row, text string) []string {
		var found []string
		for _, match := range regexp.MustCompile(row).FindAllStringSubmatch(text, -1) {
			found = append(found, match[1])
		}
		slices.Sort(found)
		return found
	}
	got := names("(?m)^\\| `(\\{[^`]+)` \\|", section(t, "docs/protecting-paths.md", "## Placeholders for applications"))
	wanted := names("(?m)^// `(\\{http\\.[^`]+)` \\|", read(t, "module.go"))
	if len(wanted) == 0 || !slices.Equal(got, wanted) {
		t.Errorf("docs/protecting-paths.md has %q, the handler's documentation %q", got, wanted)
	}
}

// TestPlaceholdersInComment: the handler's comment names the placeholders that it sets.
func TestPlaceholdersInComment(t *testing.T) {
	source := read(t, "module.go")
	documented := make(map[string]bool)
	for _, match := range regexp.MustCompile("`\\{(http\\.[a-z_.]+)\\}`").FindAllStringSubmatch(source, -1) {
		documented[match[1]] = true
	}
	for name := range placeholders {
		if !documented[name] {
			t.Errorf("the comment of Handler does not name {%s}", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("the comment of Handler names {%s}, which nothing sets", name)
	}
}

// TestDependencies: docs/dependencies.md has a reason for every module that is
// imported, and for no other.
func TestDependencies(t *testing.T) {
	files := []string{"go.mod"}
	nested, err := filepath.Glob("test/*/go.mod")
	if err != nil || len(nested) == 0 {
		t.Fatal(nested, err)
	}
	required := make(map[string]bool)
	for _, file := range append(files, nested...) {
		for _, match := range regexp.MustCompile(`(?m)^(?:require )?\t?([a-z0-9.-]+\.[a-z]+/\S+) v\S+$`).FindAllStringSubmatch(read(t, file), -1) {
			if match[1] != "github.com/caddy-truelayer/caddy-truelayer" {
				required[match[1]] = true
			}
		}
		// the line of a tool is a package's
		for _, match := range regexp.MustCompile(`(?m)^(?:tool |\t)([a-z0-9.-]+\.[a-z]+/\S+)$`).FindAllStringSubmatch(read(t, file), -1) {
			module, _, _ := strings.Cut(match[1], "/cmd/")
			required[module] = true
		}
	}
	text := read(t, "docs/dependencies.md")
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]{10,} \\| [^|]{10,} \\|$").FindAllStringSubmatch(text, -1) {
		if !required[match[1]] {
			t.Errorf("docs/dependencies.md has %s, which nothing requires", match[1])
		}
		delete(required, match[1])
	}
	for module := range required {
		t.Errorf("%s is a new direct dependency: docs/dependencies.md has no reason for it", module)
	}
}

// TestChangelog: the changelog is grouped by version and by kind, as on keepachangelog.com,
// so that the notes of a release can be taken from it.
func TestChangelog(t *testing.T) {
	kinds := []string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
	version, kind, newest := "", -1, true
	for line := range strings.Lines(read(t, "CHANGELOG.md")) {
		line = strings.TrimSuffix(line, "\n")
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			if newest != (heading == "Unreleased") || !newest && !regexp.MustCompile(`^\d+\.\d+\.\d+(-\S+)? - \d{4}-\d\d-\d\d$`).MatchString(heading) {
				t.Errorf("%q is no version and a date, or Unreleased in its place", line)
			}
			version, kind, newest = heading, -1, false
		} else if heading, ok := strings.CutPrefix(line, "### "); ok {
			next := slices.Index(kinds, heading)
			if next <= kind {
				t.Errorf("%s has %q, where only %q can come", version, heading, kinds[kind+1:])
			}
			kind = next
		} else if version != "" && kind < 0 && line != "" {
			t.Errorf("%s has a line of no kind: %q", version, line)
		}
	}
	if version == "" {
		t.Error("no version")
	}
}
