package release

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v3"
)

const root = "../.."

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file)) //nolint:gosec // a file of ours
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// glob returns files of the repository, of which there has to be one.
func glob(t *testing.T, pattern string) (files []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatal(pattern, paths, err)
	}
	for _, path := range paths {
		file, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.ToSlash(file))
	}
	return files
}

// decode reads YAML, and fails at a key that the type does not have.
func decode[T any](t *testing.T, file string) (value T) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, file)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return value
}

// TestWorkflows: actionlint has nothing to say, nor shellcheck about the commands.
func TestWorkflows(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	linter, err := actionlint.NewLinter(&out, &actionlint.LinterOptions{Shellcheck: shellcheck})
	if err != nil {
		t.Fatal(err)
	}
	faults, err := linter.LintDir(filepath.Join(root, ".github/workflows"), nil)
	if err != nil || len(faults) > 0 {
		t.Errorf("%v\n%s", err, &out)
	}
}

// TestWorkflowsAreCareful: a workflow may read the repository and no more, unless a job says
// what it needs; each job ends in time; an action is pinned to a commit, and whatever runs
// afterwards finds no token in the checkout.
func TestWorkflowsAreCareful(t *testing.T) {
	pinned := regexp.MustCompile(`^\s*(?:- )?uses: (?:\./\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$`)
	for _, file := range glob(t, ".github/workflows/*.yml") {
		text := read(t, file)
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); strings.Contains(line, "uses: ") && !pinned.MatchString(line) {
				t.Errorf("%s: %q names no commit, and the version that it is", file, line)
			}
		}
		workflow, faults := actionlint.Parse([]byte(text))
		if workflow == nil || len(faults) > 0 {
			t.Fatal(file, faults)
		}
		if p := workflow.Permissions; p == nil || len(p.Scopes) != 1 || p.Scopes["contents"] == nil || p.Scopes["contents"].Value.Value != "read" {
			t.Errorf("%s: begin with permissions: contents: read", file)
		}
		if workflow.Concurrency == nil {
			t.Errorf("%s: concurrency is missing", file)
		}
		for name, job := range workflow.Jobs {
			if job.WorkflowCall == nil && job.TimeoutMinutes == nil {
				t.Errorf("%s: %s needs timeout-minutes", file, name)
			}
			for _, step := range job.Steps {
				action, ok := step.Exec.(*actionlint.ExecAction)
				if !ok || !strings.HasPrefix(action.Uses.Value, "actions/checkout@") {
					continue
				}
				if runs(job, "cluster", ".ci/run") && (action.Inputs["fetch-depth"] == nil || action.Inputs["fetch-depth"].Value.Value != "0") {
					t.Errorf("%s: %s upgrades from an earlier release, and needs fetch-depth: 0", file, name)
				}
				if input := action.Inputs["persist-credentials"]; input == nil || input.Value.Value != "false" {
					t.Errorf("%s: the checkout of %s leaves its token", file, name)
				}
			}
		}
	}
}

// runs reports whether a job has a command with one of the words.
func runs(job *actionlint.Job, words ...string) bool {
	return slices.ContainsFunc(job.Steps, func(step *actionlint.Step) bool {
		run, ok := step.Exec.(*actionlint.ExecRun)
		return ok && slices.ContainsFunc(strings.Fields(run.Run.Value), func(word string) bool { return slices.Contains(words, word) })
	})
}

// TestDependabot looks after every module, and the actions.
func TestDependabot(t *testing.T) {
	type update struct {
		Ecosystem   string   `yaml:"package-ecosystem"`
		Directory   string   `yaml:"directory"`
		Directories []string `yaml:"directories"`
		Schedule    struct {
			Interval string `yaml:"interval"`
		} `yaml:"schedule"`
		Groups map[string]struct {
			Patterns []string `yaml:"patterns"`
		} `yaml:"groups"`
	}
	config := decode[struct {
		Version int      `yaml:"version"`
		Updates []update `yaml:"updates"`
	}](t, ".github/dependabot.yml")
	if config.Version != 2 {
		t.Errorf("version %d", config.Version)
	}
	watched := make(map[string][]string)
	for _, u := range config.Updates {
		if !slices.Contains([]string{"daily", "weekly", "monthly"}, u.Schedule.Interval) {
			t.Errorf("%s has the interval %q", u.Ecosystem, u.Schedule.Interval)
		}
		if u.Directory != "" {
			u.Directories = append(u.Directories, u.Directory)
		}
		watched[u.Ecosystem] = append(watched[u.Ecosystem], u.Directories...)
	}
	modules := []string{"/"}
	for _, file := range glob(t, "test/*/go.mod") {
		modules = append(modules, "/"+strings.TrimSuffix(file, "/go.mod"))
	}
	want := map[string][]string{"gomod": modules, "npm": {"/test/browser"}, "docker": {"/examples/container"}, "docker-compose": {"/examples/container"}, "github-actions": {"/"}}
	if !maps.EqualFunc(watched, want, slices.Equal[[]string]) {
		t.Errorf("it looks after %v, not %v", watched, want)
	}
}

// A field of an issue form.
type field struct {
	Type       string `yaml:"type"`
	ID         string `yaml:"id"`
	Attributes struct {
		Label       string `yaml:"label"`
		Description string `yaml:"description"`
		Placeholder string `yaml:"placeholder"`
		Value       string `yaml:"value"`
		Render      string `yaml:"render"`
		Options     []any  `yaml:"options"`
	} `yaml:"attributes"`
	Validations struct {
		Required bool `yaml:"required"`
	} `yaml:"validations"`
}

// TestIssueForms: GitHub takes each form, and the one for bugs asks for the reason code and
// for what the doctor says.
func TestIssueForms(t *testing.T) {
	for _, file := range glob(t, ".github/ISSUE_TEMPLATE/*.yml") {
		if filepath.Base(file) == "config.yml" {
			continue
		}
		form := decode[struct {
			Name        string   `yaml:"name"`
			Description string   `yaml:"description"`
			Labels      []string `yaml:"labels"`
			Body        []field  `yaml:"body"`
		}](t, file)
		if form.Name == "" || form.Description == "" {
			t.Errorf("%s has no name or no description", file)
		}
		ids := make(map[string]bool)
		for _, f := range form.Body {
			known := map[string]bool{ // and whether there are options
				"markdown": false, "input": false, "textarea": false, "dropdown": true, "checkboxes": true,
			}
			options, ok := known[f.Type]
			switch {
			case !ok:
				t.Errorf("%s: GitHub has no fields of type %q", file, f.Type)
			case f.Type == "markdown":
				if f.Attributes.Value == "" || f.ID != "" {
					t.Errorf("%s: a text has a value, and no id", file)
				}
			case f.Attributes.Label == "" || ids[f.ID] || !regexp.MustCompile(`^[\w-]+$`).MatchString(f.ID):
				t.Errorf("%s: %q needs a label, and an id of its own", file, f.ID)
			case options != (len(f.Attributes.Options) > 0):
				t.Errorf("%s: %s has the options %v", file, f.ID, f.Attributes.Options)
			}
			ids[f.ID] = true
		}
		if filepath.Base(file) == "bug.yml" && (!ids["reason"] || !ids["doctor"]) {
			t.Errorf("%s asks for %v", file, slices.Collect(maps.Keys(ids)))
		}
	}
	config := decode[struct {
		Blank bool `yaml:"blank_issues_enabled"`
		Links []struct {
			Name  string `yaml:"name"`
			URL   string `yaml:"url"`
			About string `yaml:"about"`
		} `yaml:"contact_links"`
	}](t, ".github/ISSUE_TEMPLATE/config.yml")
	for _, link := range config.Links {
		if link.Name == "" || link.About == "" || !strings.HasPrefix(link.URL, "https://") {
			t.Errorf("a contact link is %v", link)
		}
	}
}
