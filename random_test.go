package truelayer

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingSecretIsPredictable: what is random comes from crypto/rand
// (CVE-2024-21495, where a nonce could be guessed). The files that spread
// something over time, and need no secret for it, are named here.
func TestNothingSecretIsPredictable(t *testing.T) {
	spreads := map[string]bool{
		"underway.go":        true, // refreshes that failed together
		"logincookie.go":     true, // tabs that begin logins together
		"storagesweep.go":    true, // machines that sweep one storage
		"redisstore/lock.go": true, // processes that wait for one lock
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
