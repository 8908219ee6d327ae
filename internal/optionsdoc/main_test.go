package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDocument: the document is what the comments say now.
func TestDocument(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(target))) //nolint:gosec // a document of ours
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not up to date: run go generate ./...", target)
	}
}
