package truelayer

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// config is what Caddy's website shows of a package: the comments of modules and of the
// configuration in them, by the names of types and fields.
type config struct {
	comments map[string]string
	modules  map[string]bool // by type, whether the website finds it
}

func readConfig(t *testing.T, folder string) config {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(folder, files, err)
	}
	c := config{make(map[string]string), make(map[string]bool)}
	types := make(map[string]*ast.GenDecl)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "CaddyModule" {
					c.modules[d.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name] = hasLiteralID(d)
				}
			case *ast.GenDecl:
				if d.Tok == token.TYPE {
					types[d.Specs[0].(*ast.TypeSpec).Name.Name] = d
				}
			}
		}
	}
	for name, declaration := range types {
		structure, ok := declaration.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType)
		if !ok {
			continue
		}
		if _, isModule := c.modules[name]; isModule {
			c.comments[name] = declaration.Doc.Text()
		}
		for _, field := range structure.Fields.List {
			if !ast.IsExported(name) || field.Tag == nil || reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json") == "" {
				continue
			}
			c.comments[name] = declaration.Doc.Text()
			for _, fieldName := range field.Names {
				c.comments[name+"."+fieldName.Name] = field.Doc.Text()
			}
		}
	}
	return c
}

// hasLiteralID reports whether a CaddyModule method spells the module's id out.
func hasLiteralID(method *ast.FuncDecl) (literal bool) {
	ast.Inspect(method, func(node ast.Node) bool {
		if pair, ok := node.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "ID" {
				_, literal = pair.Value.(*ast.BasicLit)
			}
		}
		return true
	})
	return literal
}

// TestCommentsOnWebsite: Caddy's website finds the modules, and shows the comments of
// their configuration as they are meant. It reads the id of a module from the source, where
// it has to be spelled out, and takes the comments for Markdown. Its list of all modules has
// the first sentence of each, as it is, up to 200 characters.
func TestCommentsOnWebsite(t *testing.T) {
	for _, folder := range []string{".", "redisstore"} {
		c := readConfig(t, folder)
		if len(c.comments) < 10 || len(c.modules) == 0 {
			t.Fatalf("%s has the modules %v, and %d comments", folder, c.modules, len(c.comments))
		}
		for name, found := range c.modules {
			if !found {
				t.Errorf("%s: the website does not find the module: its id is no literal", name)
			}
			first, _, _ := strings.Cut(strings.ReplaceAll(c.comments[name], "\n", " "), ". ")
			if first == "" || len(first) > 200 || strings.ContainsAny(first, "`<[*") {
				t.Errorf("%s: the list of modules needs one plain sentence of 200 characters, not %q", name, first)
			}
		}
		for name, comment := range c.comments {
			for _, fault := range markdownFaults(comment) {
				t.Errorf("%s %s", name, fault)
			}
		}
	}
}

// markdownFaults are what a comment has in it that Markdown shows otherwise than Go does,
// or that leads nowhere on another site.
func markdownFaults(comment string) (faults []string) {
	if strings.TrimSpace(comment) == "" {
		return []string{"has no comment of its own"}
	}
	const repository = "https://github.com/caddy-truelayer/caddy-truelayer/blob/main/"
	for _, link := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(comment, -1) {
		path, ours := strings.CutPrefix(link[1], repository)
		path, _, _ = strings.Cut(path, "#")
		if _, err := os.Stat(path); !ours || err != nil {
			faults = append(faults, "links to "+link[1]+", which is no document of the repository's main branch")
		}
	}
	for paragraph := range strings.SplitSeq(comment, "\n\n") {
		if strings.Count(paragraph, "`")%2 != 0 {
			faults = append(faults, "has code without an end: "+paragraph)
		}
		if regexp.MustCompile(`[<\\]|\*\*?\w`).MatchString(regexp.MustCompile("`[^`]*`").ReplaceAllString(paragraph, "")) {
			faults = append(faults, "has markup outside of code: "+paragraph)
		}
		cells := 0
		for i, line := range strings.Split(strings.TrimSuffix(paragraph, "\n"), "\n") {
			if i == 0 {
				cells = strings.Count(line, "|")
			}
			if strings.Count(line, "|") != cells {
				faults = append(faults, "has a table that is not alone in its paragraph, or a row with other cells: "+line)
			}
			if regexp.MustCompile(`^(\s|#|[-+*=>]|\d+[.)]\s)`).MatchString(line) && !regexp.MustCompile(`^[-|]+$`).MatchString(line) {
				faults = append(faults, "has a line that begins with markup: "+line)
			}
		}
	}
	return faults
}

// TestMarkdownFaults: each fault is found.
func TestMarkdownFaults(t *testing.T) {
	for comment, faulty := range map[string]bool{
		"Good `{env.X}` and `<path>`.\n\nA | B\n--|--\n`a` | b\n":                                           false,
		"See [stores](https://github.com/caddy-truelayer/caddy-truelayer/blob/main/docs/stores.md#claims).": false,
		"":                                 true,
		"See [stores](docs/stores.md).":    true,
		"Below <path>.":                    true,
		"Code `without end.":               true,
		"Syntax:\n\n\tan indented line":    true,
		"A table:\nA | B\n--|--\n":         true,
		"A | B\n--|--\na | b | c\n":        true,
		"Text that goes on with\n- a dash": true,
	} {
		if faults := markdownFaults(comment); len(faults) > 0 != faulty {
			t.Errorf("%q has the faults %q", comment, faults)
		}
	}
}
