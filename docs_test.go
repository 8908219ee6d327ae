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
	for _, file := range append(files, "examples/quickstart/Caddyfile") {
		t.Run(filepath.Base(file), func(t *testing.T) {
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
		"QUICKSTART_PORT": "8080", "QUICKSTART_APP": "127.0.0.1:8081", "QUICKSTART_DATA": data,
		"QUICKSTART_AUTH_SERVER": "http://127.0.0.1:8082",
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

var documents = []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/scaling.md", "docs/benchmarks.md", "docs/dependencies.md"}

// TestDocumentsCaddyfiles: each Caddyfile in the documents can be loaded. A
// block that begins with the directive is put into a site.
func TestDocumentsCaddyfiles(t *testing.T) {
	block := regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	found := 0
	for _, document := range documents {
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

// firstColumn is what stands first in the rows of the table below a heading of
// the README.
func firstColumn(t *testing.T, heading string) []string {
	t.Helper()
	marks, _, _ := strings.Cut(heading, " ")
	_, section, found := strings.Cut(read(t, "README.md"), "\n"+heading+"\n")
	if !found {
		t.Fatalf("no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n"+marks+" ")
	var names []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([^` ]+)").FindAllStringSubmatch(section, -1) {
		names = append(names, strings.TrimSuffix(match[1], "`"))
	}
	slices.Sort(names)
	return names
}

// TestREADME: the tables of options, placeholders and reasons name what the
// code has, no more and no less.
func TestREADME(t *testing.T) {
	column := func(heading string) []string { return firstColumn(t, heading) }
	var wanted []string
	for option := range options {
		wanted = append(wanted, option)
	}
	slices.Sort(wanted)
	if got := column("## Options"); !slices.Equal(got, wanted) {
		t.Errorf("options: the README has %q, the code %q", got, wanted)
	}
	wanted = nil
	for reason := range problems {
		wanted = append(wanted, string(reason))
	}
	slices.Sort(wanted)
	if got := column("## Answers of the module"); !slices.Equal(got, wanted) {
		t.Errorf("reasons: the README has %q, the code %q", got, wanted)
	}
	source := read(t, "module.go")
	for _, name := range column("## Placeholders") {
		if !strings.Contains(source, "`"+name+"`") {
			t.Errorf("placeholder %s is not in the handler's documentation", name)
		}
	}
	for _, match := range regexp.MustCompile("(?m)^// `(\\{http\\.[^`]+)` \\|").FindAllStringSubmatch(source, -1) {
		if !slices.Contains(column("## Placeholders"), match[1]) {
			t.Errorf("placeholder %s is not in the README", match[1])
		}
	}
}

// TestLinksInDocuments: what the documents link to is there.
func TestLinksInDocuments(t *testing.T) {
	for _, document := range documents {
		for _, match := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(read(t, document), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), match[1])); err != nil {
				t.Errorf("%s links to %s: %v", document, match[1], err)
			}
		}
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
		for _, match := range regexp.MustCompile(`(?m)^\t([a-z0-9.-]+\.[a-z]+/\S+)$`).FindAllStringSubmatch(read(t, file), -1) {
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
