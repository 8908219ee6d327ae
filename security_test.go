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
// is there, and so is each file and folder in which something is stopped. Each
// advisory that it names stands beside a test.
func TestSecurityDocument(t *testing.T) {
	functions := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	advisory := regexp.MustCompile(`CVE-\d{4}-\d{4,}|GHSA(?:-\w{4}){3}`)
	advised := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			text := read(t, path)
			for _, match := range declared.FindAllStringSubmatch(text, -1) {
				functions[match[1]] = true
			}
			for _, number := range advisory.FindAllString(text, -1) {
				advised[number] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w*$`)
	file := regexp.MustCompile(`^[a-z][\w-]*(/[\w.-]+)+/?$|^[\w.-]+\.(go|md|html|css)$`)
	document := read(t, "SECURITY.md")
	tests, files := 0, 0
	for _, match := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(document, -1) {
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
	numbers := advisory.FindAllString(document, -1)
	for _, number := range numbers {
		if !advised[number] {
			t.Errorf("SECURITY.md names %s, which stands beside no test", number)
		}
	}
	if tests < 20 || files < 10 || len(numbers) < 15 {
		t.Errorf("%d tests, %d files and %d advisories were found in SECURITY.md", tests, files, len(numbers))
	}
}
