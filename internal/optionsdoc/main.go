// Command optionsdoc writes docs/options.md, the operators' reference, from the
// comments of the configuration's fields and of the functions that read Caddyfiles.
// It is run by go generate.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

func main() {
	text, err := generate(".")
	if err == nil {
		err = os.WriteFile(filepath.FromSlash(target), []byte(text), 0o644) //nolint:gosec // a document
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "optionsdoc:", err)
		os.Exit(1)
	}
}

const target = "docs/options.md"

// blocks are the blocks of a Caddyfile, each with the folder and the structure that
// has its fields.
var blocks = []struct{ title, folder, structure string }{
	{"The directive", ".", "Handler"},
	{"truelayer_require", ".", "Require"},
	{"store memory", ".", "MemoryStore"},
	{"store storage", ".", "StorageStore"},
	{"store redis", "redisstore", "Store"},
}

const introduction = `# Options

<!-- Written by go generate from the comments in the code. Change those. -->

Give each option once. ` + "`auth_param`" + ` may repeat, once for each name. JSON configurations have the same names. For matchers see
[protecting-paths.md](protecting-paths.md), for the choice of a store [stores.md](stores.md).
`

// generate returns the document for the module in a folder.
func generate(root string) (string, error) {
	var b strings.Builder
	b.WriteString(introduction)
	for _, block := range blocks {
		source, err := read(filepath.Join(root, block.folder))
		if err != nil {
			return "", err
		}
		syntax, ok := source.syntax[block.structure]
		if !ok || source.structures[block.structure] == nil {
			return "", fmt.Errorf("%s has no structure %s, or no comment on its syntax", block.folder, block.structure)
		}
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s```\n", block.title, syntax)
		source.writeFields(&b, block.structure, "###", "")
	}
	return b.String(), nil
}

// source is what the document needs of a package.
type source struct {
	structures map[string]*ast.StructType
	syntax     map[string]string // by the structure that is read
}

func read(folder string) (*source, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	s := &source{make(map[string]*ast.StructType), make(map[string]string)}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(parsed, s.take)
	}
	return s, nil
}

func (s *source) take(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.TypeSpec:
		if structure, ok := node.Type.(*ast.StructType); ok {
			s.structures[node.Name.Name] = structure
		}
	case *ast.FuncDecl:
		if node.Name.Name != "UnmarshalCaddyfile" || node.Recv == nil {
			break
		}
		if star, ok := node.Recv.List[0].Type.(*ast.StarExpr); ok {
			_, syntax, _ := strings.Cut(node.Doc.Text(), "Syntax:\n\n")
			s.syntax[star.X.(*ast.Ident).Name] = strings.TrimPrefix(strings.ReplaceAll(syntax, "\n\t", "\n"), "\t")
		}
	}
	return true
}

// writeFields writes what a structure's fields are for. Fields that are structures
// themselves have theirs below them.
func (s *source) writeFields(b *strings.Builder, structure, heading, path string) {
	comment := ""
	for _, field := range s.structures[structure].Fields.List {
		if field.Tag == nil {
			continue
		}
		name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
		if name == "" {
			continue
		}
		if field.Doc != nil {
			comment = field.Doc.Text() // a field without one shares that of the field before
		}
		if name == "match" {
			fmt.Fprintf(b, "\n%s Matcher (JSON: `match`)\n\n%s", heading, comment)
			continue
		}
		fmt.Fprintf(b, "\n%s %s%s\n\n%s", heading, path, name, comment)
		if star, ok := field.Type.(*ast.StarExpr); ok {
			if inner, ok := star.X.(*ast.Ident); ok && s.structures[inner.Name] != nil {
				s.writeFields(b, inner.Name, heading+"#", path+name+" ")
			}
		}
	}
}
