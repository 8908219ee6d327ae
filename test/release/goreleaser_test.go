package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

// TestGoReleaser: GoReleaser reads the configuration, which builds what test/run compiles
// for every system, and packs files that exist. The workflows have GoReleaser itself check
// the rest, and make a release every night that nobody gets.
func TestGoReleaser(t *testing.T) {
	project, err := config.Load(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Builds) != 1 || len(project.NFPMs) != 1 {
		t.Fatalf("%d builds, %d packages", len(project.Builds), len(project.NFPMs))
	}
	build := project.Builds[0]
	for variable, platforms := range map[string][]string{"os": build.Goos, "arch": build.Goarch} {
		loop := regexp.MustCompile(`(?m)^\s*for ` + variable + ` in ([a-z0-9 ]+); do$`).FindStringSubmatch(read(t, "test/run"))
		if loop == nil || !slices.Equal(strings.Fields(loop[1]), platforms) {
			t.Errorf("test/run compiles for %q, a release is for %q", loop, platforms)
		}
	}
	glob(t, build.Main+"/main.go")
	for _, archive := range project.Archives {
		for _, file := range archive.Files {
			glob(t, file.Source)
		}
	}
	for _, file := range project.NFPMs[0].Contents {
		glob(t, file.Source)
	}
	if project.Changelog.Disable != "" {
		t.Error("GoReleaser reads no notes if changelog.disable is set")
	}
	scripts := project.NFPMs[0].Scripts
	for _, script := range []string{scripts.PostInstall, scripts.PostRemove} {
		glob(t, script)
	}
}

// TestGoReleaserVersion: the workflows run the GoReleaser whose configuration is tested here.
func TestGoReleaserVersion(t *testing.T) {
	tested := regexp.MustCompile(`goreleaser/v2 (v\S+)`).FindStringSubmatch(read(t, "test/release/go.mod"))
	used := 0
	for _, file := range glob(t, ".github/workflows/*.yml") {
		for _, match := range regexp.MustCompile(`goreleaser-action@.*\n\s*with:\n\s*version: (\S+)`).FindAllStringSubmatch(read(t, file), -1) {
			used++
			if match[1] != tested[1] {
				t.Errorf("%s runs GoReleaser %s, test/release/go.mod has %s", file, match[1], tested[1])
			}
		}
	}
	if used == 0 {
		t.Error("no workflow runs GoReleaser")
	}
}

// TestNotes: the notes of a release are its part of the changelog, and there is no release
// without one.
func TestNotes(t *testing.T) {
	notes := func(arguments ...string) (string, error) {
		out, err := exec.Command(filepath.Join(root, "packaging/notes.sh"), arguments...).Output() //nolint:gosec // a script of ours
		return string(out), err
	}
	sections := strings.Split(read(t, "CHANGELOG.md"), "\n## ")[1:]
	for _, section := range sections {
		title, text, _ := strings.Cut(section, "\n")
		text = strings.TrimSpace(text)
		if got, err := notes(strings.Fields(title)[0]); strings.TrimSpace(got) != text || (err == nil) != (text != "") {
			t.Errorf("%v, the notes of %s are\n%s", err, title, got)
		}
	}
	// as it is when a release is made
	changelog := filepath.Join(t.TempDir(), "changelog")
	text := "# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2027-01-31\n\n### Added\n\n- This.\n\n## 1.1.0 - 2027-01-01\n\n- That.\n"
	if err := os.WriteFile(changelog, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{"1.2.0": "### Added\n\n- This.", "1.1.0": "- That.", "Unreleased": "", "1.0.0": ""} {
		if got, err := notes(version, changelog); strings.TrimSpace(got) != want || (err == nil) != (want != "") {
			t.Errorf("%v, the notes of %s are\n%s", err, version, got)
		}
	}
}
