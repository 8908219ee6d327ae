package truelayer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// withoutCode returns a document without its blocks of code.
func withoutCode(text string) string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, "")
}

// anchors returns the anchors that GitHub gives to a document's headings: in
// lower case, without punctuation, with hyphens in the place of spaces, and
// numbered where they repeat.
func anchors(t *testing.T, document string) map[string]bool {
	t.Helper()
	link := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	punctuation := regexp.MustCompile(`[^\p{L}\p{M}\p{N}\p{Pc} -]`)
	found := make(map[string]bool)
	for _, match := range regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`).FindAllStringSubmatch(withoutCode(read(t, document)), -1) {
		text := punctuation.ReplaceAllString(strings.ToLower(link.ReplaceAllString(match[1], "$1")), "")
		base := strings.ReplaceAll(text, " ", "-")
		anchor := base
		for i := 1; found[anchor]; i++ {
			anchor = fmt.Sprintf("%s-%d", base, i)
		}
		found[anchor] = true
	}
	return found
}

// TestLinksInDocuments: the files and the headings that the documents link to are
// there.
func TestLinksInDocuments(t *testing.T) {
	for _, document := range documents(t) {
		for _, match := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(withoutCode(read(t, document)), -1) {
			file, anchor, hasAnchor := strings.Cut(match[1], "#")
			target := document
			if file != "" {
				target = filepath.Join(filepath.Dir(document), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", document, match[1], err)
			} else if hasAnchor && !anchors(t, target)[anchor] {
				t.Errorf("%s links to %s: there is no such heading", document, match[1])
			}
		}
	}
}

// TestAnchors: headings get the anchors that GitHub gives them.
func TestAnchors(t *testing.T) {
	document := filepath.Join(t.TempDir(), "document.md")
	text := "# The `memory` store\n## What it's *for*, and what not (yet)\n## snake_case - and [a link](x.md#y)\n## Twice\n```\n# no heading\n```\n## Twice\n"
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(anchors(t, document)))
	want := []string{"snake_case---and-a-link", "the-memory-store", "twice", "twice-1", "what-its-for-and-what-not-yet"}
	if !slices.Equal(got, want) {
		t.Errorf("the anchors are %q, not %q", got, want)
	}
}
