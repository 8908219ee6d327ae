package truelayer

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityDocument: each test that SECURITY.md names as showing something
// is there, and so is each file and folder in which something is stopped.
func TestSecurityDocument(t *testing.T) {
	functions := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			for _, match := range declared.FindAllStringSubmatch(read(t, path), -1) {
				functions[match[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w*$`)
	file := regexp.MustCompile(`^[a-z][\w-]*(/[\w.-]+)+/?$|^[\w.-]+\.(go|md|html|css)$`)
	tests, files := 0, 0
	for _, match := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(read(t, "SECURITY.md"), -1) {
		switch name := match[1]; {
		case test.MatchString(name):
			tests++
			if !functions[name] {
				t.Errorf("SECURITY.md names %s, which is no test", name)
			}
		case file.MatchString(name):
			files++
			if _, err := os.Stat(name); err != nil {
				t.Errorf("SECURITY.md names %s: %v", name, err)
			}
		}
	}
	if tests < 20 || files < 10 {
		t.Errorf("%d tests and %d files were found in SECURITY.md", tests, files)
	}
}
