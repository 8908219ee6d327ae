package truelayer

import (
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

// TestOptionsAreFields: each row of the table is a field of the configuration, and
// the other way round.
func TestOptionsAreFields(t *testing.T) {
	for name, test := range map[string]struct {
		fields  map[string]bool
		options block.Options
		json    []string // fields that no Caddyfile has
	}{
		"the handler":   {jsonFields[Handler](t), new(Handler).options(), []string{"match"}},
		"require":       {jsonFields[Require](t), new(Require).options(), []string{"match"}},
		"store memory":  {jsonFields[MemoryStore](t), new(MemoryStore).options(), nil},
		"store storage": {jsonFields[StorageStore](t), new(StorageStore).options(), nil},
	} {
		for _, field := range test.json {
			delete(test.fields, field)
		}
		for _, option := range test.options {
			if !test.fields[option.Name] {
				t.Errorf("%s: %s is not a field", name, option.Name)
			}
			delete(test.fields, option.Name)
		}
		for field := range test.fields {
			t.Errorf("%s: the field %s is not an option", name, field)
		}
	}
}

// TestSyntaxComments: the comments have the syntax that the tables have.
func TestSyntaxComments(t *testing.T) {
	for file, test := range map[string]struct {
		head    string
		options block.Options
	}{
		"caddyfile.go":    {"truelayer [<matcher>]", new(Handler).options()},
		"require.go":      {"truelayer_require [<matcher>]", new(Require).options()},
		"memorystore.go":  {"store memory", new(MemoryStore).options()},
		"storagestore.go": {"store storage", new(StorageStore).options()},
	} {
		want := "//\t" + test.head + " {\n" + test.options.Syntax("//\t\t") + "//\t}\n"
		if !strings.Contains(read(t, file), want) {
			t.Errorf("%s does not have the syntax\n%s", file, want)
		}
	}
}
