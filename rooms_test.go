package truelayer

import (
	"errors"
	"go/parser"
	"go/token"
	"path/filepath"
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

// TestRooms: the packages below this one know nothing of Caddy.
func TestRooms(t *testing.T) {
	files, err := filepath.Glob("internal/*/*.go")
	stores, storesErr := filepath.Glob("*/internal/*/*.go")
	if err = errors.Join(err, storesErr); err != nil || len(files) < 5 || len(stores) < 3 {
		t.Fatal(files, stores, err)
	}
	files = append(files, stores...)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range parsed.Imports {
			if path := strings.Trim(imported.Path.Value, `"`); strings.HasPrefix(path, "github.com/caddyserver/") || path == "github.com/caddy-truelayer/caddy-truelayer" {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
