package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
	"go.yaml.in/yaml/v3"
)

// checks are of files with an extension.
var checks = map[string]func(file, text string) error{
	".css":  transform(api.LoaderCSS),
	".js":   transform(api.LoaderJS),
	".mjs":  transform(api.LoaderJS),
	".json": func(_, text string) error { return json.Unmarshal([]byte(text), new(any)) },
	".yaml": func(_, text string) error { return yaml.Unmarshal([]byte(text), new(any)) },
	".yml":  func(_, text string) error { return yaml.Unmarshal([]byte(text), new(any)) },
	".php":  lint("php", "-l"),
	".py":   lint("python3", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"),
}

// elsewhere says what checks the other files, by extension or name.
var elsewhere = map[string]string{
	".go":        "gofumpt, go vet, golangci-lint",
	".mod":       "go mod tidy",
	".sum":       "go mod tidy",
	".caddyfile": "TestExamples",
	"Caddyfile":  "TestExamples",
	".md":        "TestLinksInDocuments, TestAnchors, TestDocumentsCaddyfiles",
	".html":      "html/template, and axe-core in test/browser",
	"Dockerfile": "BuildKit in TestDockerfile",

	"caddy-truelayer.conf": "systemd-analyze in TestInstall",
	"truelayer.conf":       "systemd-analyze in TestInstall",
	"redis.conf":           "Redis in TestComposition",

	".dockerignore":    "BuildKit in TestDockerfile",
	".gitattributes":   "",
	".gitignore":       "",
	"LICENSE":          "",
	"simulator-secret": "",
}

var (
	// notOurs are files and folders that are not in the repository, or hold what tests read.
	notOurs = []string{".git", "dist", "node_modules", "testdata", "failures", "secrets", ".env", ".idea", ".DS_Store", "__pycache__"}
	// programs are what go build leaves behind.
	programs = []string{"caddy", "quickstart"}
)

// TestEveryFile: each file is checked by what there is for its kind, so that a new kind does
// not go unchecked. What else looks into YAML are yamllint in test/packaging, and the tests of
// what it is for.
func TestEveryFile(t *testing.T) {
	scripts := regexp.MustCompile(`step_shell\(\) \{ shellcheck (.*); \}`).FindStringSubmatch(read(t, "test/run"))
	if scripts == nil {
		t.Fatal("test/run has no step shell")
	}
	checked := make(map[string]bool)
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains(notOurs, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if slices.Contains(notOurs, entry.Name()) || slices.Contains(programs, entry.Name()) {
			return nil
		}
		file, err = filepath.Rel(root, file)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		kind, text := path.Ext(file), read(t, file)
		check := checks[kind]
		if check == nil && strings.HasPrefix(text, "#!") {
			if !slices.ContainsFunc(strings.Fields(scripts[1]), func(glob string) bool {
				matched, _ := path.Match(glob, file)
				return matched
			}) {
				t.Errorf("%s: test/run does not have shellcheck look at it", file)
			}
			return nil
		}
		if check != nil {
			checked[kind] = true
			if err := check(filepath.Join(root, file), text); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			return nil
		}
		_, known := elsewhere[kind]
		if _, named := elsewhere[path.Base(file)]; !known && !named {
			t.Errorf("%s: nothing checks files of this kind", file)
		}
		return nil
	})
	if err != nil || len(checked) != len(checks) {
		t.Errorf("checked %v, error %v", checked, err)
	}
}

// transform checks a script or a style sheet.
func transform(loader api.Loader) func(file, text string) error {
	return func(_, text string) (err error) {
		result := api.Transform(text, api.TransformOptions{Loader: loader})
		for _, fault := range slices.Concat(result.Errors, result.Warnings) {
			err = errors.Join(err, fmt.Errorf("line %d: %s", fault.Location.Line, fault.Text))
		}
		return err
	}
}

// lint checks a file with a program.
func lint(program string, arguments ...string) func(file, text string) error {
	return func(file, _ string) error {
		out, err := exec.Command(program, append(slices.Clip(arguments), file)...).CombinedOutput() //nolint:gosec // a linter, and a file of ours
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", program, err, out)
		}
		return nil
	}
}
