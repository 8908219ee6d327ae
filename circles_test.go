package truelayer

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nothing imports packages with nothing in them: who uses what inside of one package
// is known without the others.
type nothing struct{}

func (nothing) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// uses returns which of a package's files use which others: by a name that is declared
// there, fields of structures excepted.
func uses(t *testing.T, folder string) map[string]map[string]bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	config := types.Config{Importer: nothing{}, Error: func(error) {}} // of what is imported nothing is found
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	checked, _ := config.Check(folder, set, files, info)
	found := make(map[string]map[string]bool)
	for name, object := range info.Uses {
		if variable, ok := object.(*types.Var); object.Pkg() != checked || ok && (variable.IsField() || variable.Parent() != checked.Scope()) {
			continue
		}
		from, to := filepath.Base(set.Position(name.Pos()).Filename), filepath.Base(set.Position(object.Pos()).Filename)
		if from == to || to == "." {
			continue
		}
		if found[from] == nil {
			found[from] = make(map[string]bool)
		}
		found[from][to] = true
	}
	return found
}

// circle returns files that use each other in a circle, nil if there are none.
func circle(uses map[string]map[string]bool) []string {
	const open, closed = 1, 2
	state, way := make(map[string]int), []string(nil)
	var visit func(file string) []string
	visit = func(file string) []string {
		switch state[file] {
		case closed:
			return nil
		case open:
			return append(slices.Clone(way[slices.Index(way, file):]), file)
		}
		state[file], way = open, append(way, file)
		for _, next := range slices.Sorted(maps.Keys(uses[file])) {
			if found := visit(next); found != nil {
				return found
			}
		}
		state[file], way = closed, way[:len(way)-1]
		return nil
	}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		if found := visit(file); found != nil {
			return found
		}
	}
	return nil
}

// TestNoCircles: the files of a package do not use each other in circles. What two of
// them need lies in a third.
func TestNoCircles(t *testing.T) {
	for _, folder := range []string{".", "internal/session", "internal/flight", "internal/pages", "internal/readings", "internal/authserver", "internal/tlapi", "internal/banks", "internal/doctor", "internal/block", "redisstore", "redisstore/internal/guardedconn"} {
		found := uses(t, folder)
		if folder == "." && (!found["guard.go"]["login.go"] || len(found) < 20) {
			t.Fatalf("the check is blind: guard.go uses %v", found["guard.go"])
		}
		if files := circle(found); files != nil {
			t.Errorf("%s: %s", folder, strings.Join(files, " uses "))
		}
	}
	if circle(map[string]map[string]bool{"a": {"b": true}, "b": {"c": true}, "c": {"b": true}}) == nil {
		t.Error("a circle is not found")
	}
}
