package packaging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

const dockerfile = repository + "/examples/container/Dockerfile"

// noImages stands for a registry: each image that the Dockerfile builds upon exists, and
// has no configuration of its own.
type noImages struct{}

func (noImages) ResolveSourceMetadata(_ context.Context, op *pb.SourceOp, _ sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	config := []byte(`{"os": "linux", "architecture": "amd64"}`)
	return &sourceresolver.MetaResponse{Op: op, Image: &sourceresolver.ResolveImageResponse{Config: config}}, nil
}

// TestDockerfile: what "docker build --check" looks at is as it should be.
func TestDockerfile(t *testing.T) {
	text := []byte(read(t, dockerfile))
	results, err := dockerfile2llb.DockerfileLint(t.Context(), text, dockerfile2llb.ConvertOpt{
		SourceMap:    &llb.SourceMap{Definition: &llb.Definition{}, Filename: "Dockerfile", Data: text},
		MetaResolver: sourceresolver.NewImageMetaResolver(noImages{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		t.Error(results.Error.Message)
	}
	for _, warning := range results.Warnings {
		t.Errorf("%s: %s", warning.RuleName, warning.Detail)
	}

	images, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(`caddyserver/caddy/v2 v(\d+\.\d+)\.`).FindStringSubmatch(read(t, repository+"/go.mod"))[1]
	for _, image := range images {
		if !slices.Contains([]string{
			"scratch", "caddy:" + required, "caddy:" + required + "-builder", "golang:1.26-alpine",
		}, image.BaseName) {
			t.Errorf("a stage is from %s; go.mod has Caddy %s", image.BaseName, required)
		}
	}
	final := images[len(images)-1]
	if final.Name != "caddy" {
		t.Errorf("without --target the image is %q", final.Name)
	}
	user := false
	for _, c := range final.Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(c.User)
		case *instructions.RunCommand:
			t.Errorf("%s cannot be tested without the image", c)
		}
	}
	if !user {
		t.Error("the image has no user whose number says that it is not root")
	}
}

func parse(text []byte) ([]instructions.Stage, error) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	images, _, err := instructions.Parse(parsed.AST, nil)
	return images, err
}

// healthCheck returns the command of the image's health check.
func healthCheck(t *testing.T) []string {
	t.Helper()
	images, err := parse([]byte(read(t, dockerfile)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range images[len(images)-1].Commands {
		if c, ok := c.(*instructions.HealthCheckCommand); ok && len(c.Health.Test) > 1 && c.Health.Test[0] == "CMD" {
			return c.Health.Test[1:]
		}
	}
	t.Fatal("the image has no health check that needs no shell")
	return nil
}

// runStages copies into the directory what a container engine would send to the build, and
// runs the commands of the stages there. In the place of an engine's roots the stages have
// this one directory, which both call /src, and whatever programs this machine has.
func runStages(directory string) error {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return err
	}
	images, err := parse(text)
	if err != nil {
		return err
	}
	if err := copyContext(directory); err != nil {
		return err
	}
	environment, stop, err := builder(filepath.Join(directory, "tools"))
	if err != nil {
		return err
	}
	defer stop()
	ran := 0
	for _, image := range images {
		for _, c := range image.Commands {
			switch c := c.(type) {
			case *instructions.WorkdirCommand:
				if c.Path != "/src" {
					return fmt.Errorf("stage %s is in %s", image.Name, c.Path)
				}
			case *instructions.RunCommand:
				ran++
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
				run := exec.CommandContext(ctx, "sh", "-c", strings.Join(c.CmdLine, " ")) //nolint:gosec // our Dockerfile's
				run.Dir, run.Env = directory, environment
				output, err := run.CombinedOutput()
				cancel()
				if err != nil {
					return fmt.Errorf("stage %s: %w\n%s", image.Name, err, output)
				}
			}
		}
	}
	if ran != 2 {
		return fmt.Errorf("%d commands ran", ran)
	}
	return nil
}

// copyContext copies the files that Dockerfile.dockerignore lets through.
func copyContext(directory string) error {
	ignored, err := os.Open(dockerfile + ".dockerignore")
	if err != nil {
		return err
	}
	defer ignored.Close()
	patterns, err := ignorefile.ReadAll(ignored)
	if err != nil {
		return err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	return fs.WalkDir(os.DirFS(repository), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != "." && strings.HasPrefix(entry.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if ignored, err := matcher.MatchesOrParentMatches(path); err != nil || ignored {
			return err
		}
		content, err := os.ReadFile(filepath.Join(repository, path)) //nolint:gosec // a file of ours
		if err != nil {
			return err
		}
		target := filepath.Join(directory, path)
		return errors.Join(os.MkdirAll(filepath.Dir(target), 0o750), os.WriteFile(target, content, 0o600)) //nolint:gosec // in a directory of the test's own
	})
}

// builder returns what Caddy's builder image has: xcaddy, the version of Caddy that it is
// made for, and the world's module proxy, which does not know this module.
func builder(tools string) (environment []string, stop func(), err error) {
	if output, err := exec.Command("go", "build", "-o", tools+"/", "github.com/caddyserver/xcaddy/cmd/xcaddy").CombinedOutput(); err != nil { //nolint:gosec // in a directory of the test's own
		return nil, nil, fmt.Errorf("building xcaddy: %w\n%s", err, output)
	}
	version, err := exec.Command("go", "list", "-C", repository, "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2").Output()
	if err != nil {
		return nil, nil, err
	}
	proxies, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		return nil, nil, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(proxies)), ",")
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/github.com/caddy-truelayer/") {
			http.NotFound(w, r)
			return
		}
		target, err := url.JoinPath(first, r.URL.EscapedPath())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		http.Redirect(w, r, target, http.StatusFound) //nolint:gosec // to the proxy that Go is set up for
	}))
	return append(os.Environ(),
		"PATH="+tools+":"+os.Getenv("PATH"),
		"CADDY_VERSION="+strings.TrimSpace(string(version)),
		"GOPROXY="+proxy.URL,
		"CGO_ENABLED=0", // what xcaddy does where it is not set
		// as it would be, but for -trimpath, with which nothing that was compiled for
		// other steps could be used
		"XCADDY_GO_BUILD_FLAGS=-tags=nobadger,nomysql,nopgx",
	), proxy.Close, nil
}

// TestStages: the build stages' commands make a Caddy that has the module and its store,
// and the two programs of the demonstration.
func TestStages(t *testing.T) {
	directory := stages(t)
	modules := output(t, command(t, directory+"/bin/caddy", "list-modules"))
	for _, module := range []string{"http.handlers.truelayer", "http.truelayer.token_stores.redis"} {
		if !strings.Contains(modules, "\n"+module+"\n") {
			t.Errorf("caddy has no module %s", module)
		}
	}
	for _, program := range []string{"simulator", "application"} {
		if _, err := os.Stat(filepath.Join(directory, "bin", program)); err != nil {
			t.Error(err)
		}
	}
}
