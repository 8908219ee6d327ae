package release

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/caddy-truelayer/caddy-truelayer"

// run runs a command in the repository, and returns what it prints.
func run(t *testing.T, environment []string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...) //nolint:gosec // a command of ours
	cmd.Dir = root
	cmd.Env = append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func must(t *testing.T, environment []string, command ...string) string {
	t.Helper()
	out, err := run(t, environment, command...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(out)
}

// settings are what xcaddy runs with here: the Caddy that go.mod requires, in place of the
// newest, and flags with which most of it is compiled already.
//
// xcaddy lets Go look this module up, although it builds the checkout. A proxy that answers
// 403 for a module that it does not have, and not 404, would end that, so this module is not
// asked for at the real one.
func settings(t *testing.T) []string {
	t.Helper()
	environment := []string{
		"CADDY_VERSION=" + must(t, nil, "go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2"),
		"XCADDY_GO_BUILD_FLAGS=-ldflags='-s -w'",
		"GOFLAGS=-buildvcs=false -tags=nobadger,nomysql,nopgx",
		"CGO_ENABLED=0",
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(must(t, nil, "go", "env", "GOPROXY"), "|", ","), ",")
	if !strings.HasPrefix(first, "http") {
		return environment
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/"+module+"/") {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, strings.TrimSuffix(first, "/")+r.URL.EscapedPath(), http.StatusFound) //nolint:gosec // the proxy that Go is told to use
	}))
	t.Cleanup(proxy.Close)
	return append(environment, "GOPROXY="+proxy.URL)
}

// xcaddy builds the command that test/release/go.mod pins.
func xcaddy(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "xcaddy")
	must(t, []string{"CGO_ENABLED=0"}, "go", "build", "-C", "test/release", "-o", binary, "github.com/caddyserver/xcaddy/cmd/xcaddy")
	return binary
}

// validate has a Caddy check a Caddyfile, whose placeholders and folders are made up.
func validate(t *testing.T, caddy, text string) {
	t.Helper()
	data := t.TempDir()
	environment := []string{"XDG_DATA_HOME=" + data, "XDG_CONFIG_HOME=" + data}
	for _, name := range regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(text, -1) {
		environment = append(environment, name[1]+"=sandbox-value")
	}
	file := filepath.Join(data, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, environment, caddy, "validate", "--adapter", "caddyfile", "--config", file)
}

// TestXcaddy: the commands in README.md build Caddys with the modules that they are for.
func TestXcaddy(t *testing.T) {
	text := strings.ReplaceAll(read(t, "README.md"), "\\\n", " ")
	modules := []string{"http.handlers.truelayer", "http.handlers.truelayer_require", "http.truelayer.token_stores.storage"}
	redis := "http.truelayer.token_stores.redis"
	command, environment := xcaddy(t), settings(t)
	built := 0
	for _, match := range regexp.MustCompile(`(?m)^    xcaddy (build .*)=\.(.*)$`).FindAllStringSubmatch(text, -1) {
		built++
		caddy := filepath.Join(t.TempDir(), "caddy")
		arguments := append(strings.Fields(match[1]+"=."+match[2]), "--output", caddy)
		must(t, environment, append([]string{command}, arguments...)...)
		found := strings.Fields(must(t, nil, caddy, "list-modules"))
		for _, name := range modules {
			if !slices.Contains(found, name) {
				t.Errorf("%q lacks %s", arguments, name)
			}
		}
		wanted := strings.Contains(match[2], "/redisstore")
		if slices.Contains(found, redis) != wanted {
			t.Errorf("%q has the Redis store: %t", arguments, !wanted)
		}
		example := "examples/whole-site.caddyfile"
		if wanted {
			example = "examples/cluster.caddyfile"
		}
		validate(t, caddy, read(t, example))
	}
	if built != 2 {
		t.Errorf("README.md has %d commands for a checkout", built)
	}
}

// TestRateLimits: the Caddyfile of docs/deployment.md that limits rates is valid with
// caddy-ratelimit. Where that module cannot be had, test/run shows the note that says so.
func TestRateLimits(t *testing.T) {
	const limiter = "github.com/mholt/caddy-ratelimit"
	environment := settings(t)
	_, section, _ := strings.Cut(read(t, "docs/deployment.md"), "\n## Rate limits\n")
	recipe := regexp.MustCompile("(?s)```\n(.*?)```").FindStringSubmatch(section)
	if recipe == nil || !strings.Contains(recipe[1], "order rate_limit before truelayer") {
		t.Fatal("docs/deployment.md has no recipe")
	}
	if out, err := run(t, append(environment, "GOFLAGS=-mod=mod"), "go", "list", "-m", limiter+"@latest"); err != nil {
		t.Logf("note: the recipe for rate limits was not loaded: caddy-ratelimit cannot be had here (%s)", strings.Join(strings.Fields(out), " "))
		return
	}
	caddy := filepath.Join(t.TempDir(), "caddy")
	must(t, environment, xcaddy(t), "build", "--with", module+"=.", "--with", limiter, "--output", caddy)
	validate(t, caddy, recipe[1])
}
