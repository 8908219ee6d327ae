package packaging

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const container = repository + "/examples/container/"

// load reads compose files as "docker compose" does.
func load(t *testing.T, files ...string) *types.Project {
	t.Helper()
	for i, file := range files {
		files[i] = container + file
	}
	options, err := cli.NewProjectOptions(files, cli.WithEnv([]string{"TRUELAYER_CLIENT_ID=sandbox-visitors"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestCompose: the compose files are valid, and every container is confined.
func TestCompose(t *testing.T) {
	demonstration := load(t, "compose.yaml")
	sandbox := load(t, "compose.yaml", "sandbox.yaml")
	for _, project := range []*types.Project{demonstration, sandbox} {
		for name, service := range project.Services {
			if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || len(service.CapAdd) > 0 || service.Privileged ||
				!slices.Equal(service.SecurityOpt, []string{"no-new-privileges:true"}) {
				t.Errorf("%s is not confined", name)
			}
			if core := service.Ulimits["core"]; name != "passwords" && (core == nil || core.Single != 0) {
				t.Errorf("%s may dump core", name)
			}
			for _, port := range service.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s publishes port %s to other machines", name, port.Published)
				}
			}
			if service.Build == nil && !regexp.MustCompile(`:v?\d+\.\d+`).MatchString(service.Image) {
				t.Errorf("%s is any version of %s", name, service.Image)
			}
			for _, volume := range service.Volumes {
				if volume.Type != types.VolumeTypeBind {
					continue
				}
				if info, err := os.Stat(volume.Source); err != nil || info.IsDir() || !volume.ReadOnly {
					t.Errorf("%s mounts %s: %v", name, volume.Source, err)
				}
			}
		}
	}
	for _, network := range []string{"store", "metrics"} {
		if !demonstration.Networks[network].Internal {
			t.Errorf("the network %s leads outside", network)
		}
	}
	if len(demonstration.Services["redis"].Ports) > 0 {
		t.Error("Redis is published")
	}
	if _, runs := sandbox.Services["simulator"]; runs {
		t.Error("the simulator runs beside the sandbox")
	}
	caddy := sandbox.Services["caddy"].Environment
	if *caddy["TRUELAYER"] != "sandbox" || *caddy["TRUELAYER_CLIENT_ID"] != "sandbox-visitors" {
		t.Errorf("Caddy has the environment %v", caddy)
	}
	if secret := sandbox.Secrets["client_secret"].File; !strings.HasSuffix(secret, "examples/container/secrets/client_secret") {
		t.Errorf("the client secret is in %s", secret)
	}
}

// composition is what the containers run, on this machine and without them. Names of
// containers and their paths stand for what plays their part.
type composition struct {
	project  *types.Project
	stages   string
	replacer *strings.Replacer
}

// command is what a service runs, with a program in place of its entry point.
func (c *composition) command(t *testing.T, service string, program ...string) *exec.Cmd {
	t.Helper()
	for _, argument := range c.project.Services[service].Command {
		program = append(program, c.replacer.Replace(argument))
	}
	return command(t, program[0], program[1:]...)
}

// TestComposition: a visitor of the demonstration gets to the guarded page by way of the
// simulated bank, and Prometheus counts it.
func TestComposition(t *testing.T) {
	directory := t.TempDir()
	admin, site, trueLayer, app, redis, metrics := port(t), port(t), port(t), port(t), port(t), port(t)
	secret, err := filepath.Abs(container + "simulator-secret")
	if err != nil {
		t.Fatal(err)
	}
	c := &composition{load(t, "compose.yaml"), stages(t), strings.NewReplacer(
		"127.0.0.1:2019", "127.0.0.1:"+admin,
		"localhost:8080", "localhost:"+site,
		"127.0.0.1:8082", "127.0.0.1:"+trueLayer, "caddy:8082", "localhost:"+trueLayer, "=:8082", "=127.0.0.1:"+trueLayer,
		"application:8081", "127.0.0.1:"+app, "=:8081", "=127.0.0.1:"+app,
		"redis:6379", "127.0.0.1:"+redis,
		"caddy:2020", "127.0.0.1:"+metrics,
		"/run/secrets/client_secret", secret,
		"/run/passwords", directory+"/passwords/redis",
		"/data", directory,
		"/etc/redis.conf", directory+"/redis.conf",
	)}

	for _, folder := range []string{"redis", "grafana"} {
		if err := os.MkdirAll(filepath.Join(directory, "passwords", folder), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	makePasswords := func() (all string) {
		output(t, command(t, "sh", container+"passwords", directory+"/passwords"))
		for _, file := range []string{"redis/redis", "redis/users.acl", "grafana/grafana"} {
			all += read(t, filepath.Join(directory, "passwords", file))
		}
		return all
	}
	if first, second := makePasswords(), makePasswords(); first != second {
		t.Error("the second start makes other passwords")
	}

	write(t, directory+"/redis.conf", c.replacer.Replace(read(t, container+"redis.conf")))
	start(t, command(t, "redis-server", directory+"/redis.conf", "--port", redis, "--bind", "127.0.0.1"))
	succeeds(t, func() *exec.Cmd {
		check := c.project.Services["redis"].HealthCheck.Test
		return command(t, check[1], append([]string{"-p", redis}, check[2:]...)...)
	})
	if answer, err := command(t, "redis-cli", "-e", "-p", redis, "ping").CombinedOutput(); err == nil {
		t.Errorf("Redis answers anybody: %s", answer)
	}

	start(t, c.command(t, "simulator", c.stages+"/bin/simulator", "-redirect-uri=http://localhost:"+site+"/truelayer"))
	start(t, c.command(t, "application", c.stages+"/bin/application"))
	write(t, directory+"/Caddyfile", c.replacer.Replace(read(t, container+"Caddyfile")))
	caddy := func(name string) *exec.Cmd {
		run := command(t, c.stages+"/bin/caddy", name, "--config", directory+"/Caddyfile", "--adapter", "caddyfile")
		run.Env = []string{"XDG_DATA_HOME=" + directory, "XDG_CONFIG_HOME=" + directory, "CADDY_ADMIN=127.0.0.1:" + admin}
		for name, value := range c.project.Services["caddy"].Environment {
			run.Env = append(run.Env, name+"="+*value)
		}
		return run
	}
	output(t, caddy("validate"))
	start(t, caddy("run"))
	succeeds(t, func() *exec.Cmd { // Alpine's wget is busybox's
		var check []string
		for _, argument := range healthCheck(t) {
			check = append(check, c.replacer.Replace(argument))
		}
		return command(t, "busybox", check...)
	})

	listens(t, "127.0.0.1:"+trueLayer)
	listens(t, "127.0.0.1:"+app)
	v := newVisitor(t, "http://localhost:"+site)
	if page := v.connect(t, "/account", "http://127.0.0.1:"+trueLayer); !strings.Contains(page, "Bearer eyJ") {
		t.Errorf("the application got no token: %s", page)
	}
	if page := v.send(t, "/account", url.Values{"name": {"John Doe"}}); !strings.Contains(page, "<strong>Verified</strong>") {
		t.Errorf("the application does not reach TrueLayer's API: %s", page)
	}
	_, page := v.open(t, "http://127.0.0.1:"+metrics+"/metrics")
	if !regexp.MustCompile(`(?m)^caddy_truelayer_logins_total\{result="ok",.*\} 1$`).MatchString(page) {
		t.Errorf("the metrics do not count the login: %s", page)
	}
	if !regexp.MustCompile(`(?m)^caddy_truelayer_store_operations_total\{operation="create",result="ok",store="redis"\} [1-9]`).MatchString(page) {
		t.Errorf("the session is not in Redis: %s", page)
	}
}

// TestRedisSettings: Redis has the settings and the rights that docs/scaling.md names.
func TestRedisSettings(t *testing.T) {
	document := read(t, repository+"/docs/scaling.md")
	settings := read(t, container+"redis.conf")
	for _, line := range []string{"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} {
		if !strings.Contains(document, line) || !strings.Contains(settings, "\n"+line+"\n") {
			t.Errorf("%q is not in both of docs/scaling.md and redis.conf", line)
		}
	}
	rights := regexp.MustCompile(`~truelayer:\* .+`)
	if documented, given := rights.FindString(document), rights.FindString(read(t, container+"passwords")); documented == "" || documented != given {
		t.Errorf("Caddy has the rights %q, and docs/scaling.md says %q", given, documented)
	}
}

// TestMonitoring: Prometheus accepts its files where the containers have them, and Grafana
// finds what it is told to look for.
func TestMonitoring(t *testing.T) {
	project := load(t, "compose.yaml")
	mounted := func(service string) map[string]string {
		files := make(map[string]string)
		for _, volume := range project.Services[service].Volumes {
			if volume.Type == types.VolumeTypeBind {
				files[volume.Target] = read(t, volume.Source)
			}
		}
		return files
	}
	directory := t.TempDir()
	prometheus := mounted("prometheus")
	for path, text := range prometheus {
		write(t, filepath.Join(directory, path), text)
	}
	output(t, command(t, "promtool", "check", "config", "--lint=all", "--lint-fatal", directory+"/etc/prometheus/prometheus.yml"))
	target := regexp.MustCompile(`targets: \["(.+)"\]`).FindStringSubmatch(prometheus["/etc/prometheus/prometheus.yml"])
	if target == nil || !strings.Contains(read(t, container+"Caddyfile"), "\nhttp://"+target[1]+" {\n\tmetrics") {
		t.Errorf("Prometheus asks at %q, which is no site with metrics", target)
	}

	grafana := mounted("grafana")
	path := regexp.MustCompile(`path: (.+)`).FindStringSubmatch(grafana["/etc/grafana/provisioning/dashboards/dashboards.yml"])
	if path == nil || grafana[path[1]+"/dashboard.json"] == "" {
		t.Errorf("there is no dashboard in %q", path)
	}
	if !strings.Contains(grafana["/etc/grafana/provisioning/datasources/datasource.yml"], "url: http://prometheus:9090\n") {
		t.Error("Grafana does not ask Prometheus")
	}
}

// TestYAML: yamllint finds nothing in the YAML files of the examples.
func TestYAML(t *testing.T) {
	output(t, command(t, "yamllint", "--strict", "--config-data",
		"{extends: default, rules: {document-start: disable, line-length: disable, comments: {min-spaces-from-content: 1}, truthy: {check-keys: false}}}",
		repository+"/examples", repository+"/.github", repository+"/.golangci.yml", repository+"/.goreleaser.yaml"))
}
