package truelayer

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReasonsHaveWords: each reason has a title and a text.
func TestReasonsHaveWords(t *testing.T) {
	for reason := range problems {
		if text := reason.text(); text.Title == "" || text.Text == "" {
			t.Errorf("%s has no words: %+v", reason, text)
		}
	}
}

// TestReasonsHaveRows: each reason that the source declares is answered somehow.
func TestReasonsHaveRows(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok && value.Kind == token.STRING {
			declared++
			if _, ok := problems[reason(strings.Trim(value.Value, `"`))]; !ok {
				t.Errorf("%s has no row in problems", value.Value)
			}
		}
		return true
	})
	if declared != len(problems) {
		t.Errorf("%d reasons are declared, %d have a row", declared, len(problems))
	}
}

// rooms are the packages below this one, with those of ours that each may use. A
// new one has to be entered here.
var rooms = map[string][]string{
	"redisstore/internal/guardedconn": nil,

	"internal/authserver": nil,
	"internal/banks":      {"internal/authserver", "internal/flight", "internal/tlapi"},
	"internal/doctor":     nil,
	"internal/flight":     nil,
	"internal/pages":      nil,
	"internal/readings":   nil,
	"internal/samplelog":  nil,
	"internal/sealed":     {"internal/authserver"},
	"internal/session":    {"internal/authserver", "internal/flight", "internal/sealed"},
	"internal/tlapi":      {"internal/authserver"},
	"internal/vouch":      {"internal/authserver", "internal/flight", "internal/sealed", "internal/tlapi"},
}

// configuration are the packages that may know Caddy, since they read its
// configuration.
var configuration = []string{"internal/block", "internal/optionsdoc"}

// TestRooms: the packages below this one know nothing of Caddy, nor of each other
// but what they build on, and write no HTTP answer.
func TestRooms(t *testing.T) {
	const module = "github.com/caddy-truelayer/caddy-truelayer"
	files, err := filepath.Glob("internal/*/*.go")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	stores, err := filepath.Glob("*store/internal/*/*.go") // examples/internal runs Caddy
	if err != nil || len(stores) < 3 {
		t.Fatal(stores, err)
	}
	files = append(files, stores...)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		room := filepath.ToSlash(filepath.Dir(file))
		if slices.Contains(configuration, room) {
			continue
		}
		uses, ok := rooms[room]
		if !ok {
			t.Errorf("%s is in a room that rooms does not name", file)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range parsed.Imports {
			path := strings.Trim(imported.Path.Value, `"`)
			other, ours := strings.CutPrefix(path, module)
			if strings.HasPrefix(path, "github.com/caddyserver/") || ours && !slices.Contains(uses, strings.TrimPrefix(other, "/")) {
				t.Errorf("%s imports %s", file, path)
			}
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			if name, ok := node.(*ast.SelectorExpr); ok && slices.Contains([]string{"ResponseWriter", "NewResponseController", "Error", "Redirect"}, name.Sel.Name) {
				if pkg, ok := name.X.(*ast.Ident); ok && pkg.Name == "http" {
					t.Errorf("%s uses http.%s", file, name.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestNothingSecretIsPredictable: what is random comes from crypto/rand
// (CVE-2024-21495, where a nonce could be guessed). The files that spread
// something over time, and need no secret for it, are named here.
func TestNothingSecretIsPredictable(t *testing.T) {
	spreads := map[string]bool{
		"internal/session/backoff.go": true, // refreshes that failed together
		"storagesweep.go":             true, // machines that sweep one storage
		"internal/vouch/asker.go":     true, // questions after an outage
		"redisstore/lock.go":          true, // processes that wait for one lock
	}
	used, files := make(map[string]bool), 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || path == "test"):
			return fs.SkipDir // of test/ nothing is in what users build
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imported := range file.Imports {
			if !strings.HasPrefix(imported.Path.Value, `"math/rand`) {
				continue
			}
			if path = filepath.ToSlash(path); !spreads[path] {
				t.Errorf("%s imports %s", path, imported.Path.Value)
			}
			used[path] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(used) != len(spreads) || files < 30 {
		t.Errorf("of %d files %v import math/rand, not %v", files, used, spreads)
	}
}
