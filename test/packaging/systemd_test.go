package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const systemd = repository + "/examples/systemd/"

// The user that the package makes for Caddy when it is configured, as a number, since the
// throw-away system has no users.
const caddyUser = "990"

// machine is a throw-away Debian system in a directory: the package caddy is unpacked in
// it, and nothing else is there.
type machine struct {
	root, deb string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{root: t.TempDir()}
	downloads := t.TempDir()
	download := func() error {
		apt := asRoot(t, "apt-get", "download", "caddy")
		apt.Dir = downloads
		return apt.Run()
	}
	if download() != nil { // the list of packages may be old, or missing
		output(t, asRoot(t, "apt-get", "update"))
		if err := download(); err != nil {
			t.Fatal(err)
		}
	}
	found, err := filepath.Glob(downloads + "/caddy_*.deb")
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	// without its scripts, which need a whole system
	unpacked, scripts := downloads+"/unpacked", downloads+"/unpacked/DEBIAN/"
	output(t, command(t, "dpkg-deb", "--raw-extract", found[0], unpacked))
	output(t, command(t, "rm", scripts+"postinst", scripts+"prerm", scripts+"postrm"))
	m.deb = downloads + "/caddy.deb"
	output(t, command(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", unpacked, m.deb))
	t.Cleanup(func() { // go cannot remove what is root's
		if err := asRoot(t, "rm", "-rf", m.root, downloads).Run(); err != nil {
			t.Error(err)
		}
	})
	for _, folder := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/caddy", "run/caddy", "run/credentials/caddy.service", "tmp"} {
		output(t, asRoot(t, "mkdir", "-p", m.path(folder)))
	}
	output(t, asRoot(t, "touch", m.path("var/lib/dpkg/status")))
	output(t, asRoot(t, "install", "-D", "-m", "0644", "/etc/hosts", m.path("etc/hosts"))) // for localhost
	m.unpack(t)
	return m
}

func (m *machine) path(path string) string { return filepath.Join(m.root, path) }

// unpack does what an upgrade of the package does to its files.
func (m *machine) unpack(t *testing.T) {
	t.Helper()
	output(t, asRoot(t, "dpkg", "--root="+m.root, "--unpack", m.deb))
}

// install runs the installation, which reads the input.
func (m *machine) install(t *testing.T, caddy, input string) string {
	t.Helper()
	install := asRoot(t, systemd+"install", "--root", m.root, caddy)
	install.Stdin = strings.NewReader(input)
	return output(t, install)
}

// read returns a file of the machine.
func (m *machine) read(t *testing.T, path string) string {
	t.Helper()
	return output(t, asRoot(t, "cat", m.path(path)))
}

// settings returns the values of a setting in the unit and in what was installed for it.
func (m *machine) settings(t *testing.T, name string) (values []string) {
	t.Helper()
	unit := m.read(t, "lib/systemd/system/caddy.service") + m.read(t, "etc/systemd/system/caddy.service.d/truelayer.conf")
	for _, match := range regexp.MustCompile(`(?m)^`+name+`=(.+)$`).FindAllStringSubmatch(unit, -1) {
		values = append(values, match[1])
	}
	if len(values) == 0 {
		t.Fatalf("the unit has no %s", name)
	}
	return values
}

// chroot is a command of the machine as systemd runs one of the unit's: by Caddy's user,
// without capabilities or a way to get any, without core dumps.
func (m *machine) chroot(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	return asRoot(t, "env", append([]string{
		"-i", "HOME=/var/lib/caddy", "CREDENTIALS_DIRECTORY=/run/credentials/caddy.service",
		"/usr/bin/prlimit", "--core=" + m.settings(t, "LimitCORE")[0],
		"/usr/bin/setpriv", "--no-new-privs",
		"/usr/sbin/chroot", "--userspec=" + caddyUser + ":" + caddyUser, "--groups=", m.root,
	}, strings.Fields(line)...)...)
}

// start does what systemd does before it starts Caddy, and starts it.
func (m *machine) start(t *testing.T) *process {
	t.Helper()
	for _, credential := range m.settings(t, "LoadCredential") {
		id, source, _ := strings.Cut(credential, ":")
		output(t, asRoot(t, "install", "-m", "0400", "-o", caddyUser, "-g", caddyUser, m.path(source), m.path("run/credentials/caddy.service/"+id)))
	}
	output(t, asRoot(t, "chown", "-R", caddyUser+":"+caddyUser, m.path("var/lib/caddy"), m.path("run/caddy")))
	output(t, asRoot(t, "chmod", m.settings(t, "RuntimeDirectoryMode")[0], m.path("run/"+m.settings(t, "RuntimeDirectory")[0])))
	output(t, m.chroot(t, "/usr/bin/caddy validate --config /etc/caddy/Caddyfile"))
	return start(t, m.chroot(t, m.settings(t, "ExecStart")[0]))
}

// limits returns the limits of a process that asRoot has started.
func limits(t *testing.T, p *process) string {
	t.Helper()
	id := strconv.Itoa(p.Process.Pid)
	if os.Geteuid() != 0 { // this is sudo's
		id = strings.TrimSpace(output(t, command(t, "pgrep", "--parent", id)))
	}
	return output(t, asRoot(t, "cat", "/proc/"+id+"/limits"))
}

// verify has systemd look at the unit and at what was installed for it.
func (m *machine) verify(t *testing.T) {
	t.Helper()
	// systemd looks for the program where the unit says that it is
	unit := strings.ReplaceAll(m.read(t, "lib/systemd/system/caddy.service"), "=/usr/bin/caddy ", "="+m.path("usr/bin/caddy")+" ")
	directory := t.TempDir()
	write(t, directory+"/caddy.service", unit)
	write(t, directory+"/caddy.service.d/truelayer.conf", m.read(t, "etc/systemd/system/caddy.service.d/truelayer.conf"))
	verify := command(t, "systemd-analyze", "verify", "--man=no", "caddy.service")
	verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+directory+":") // and after these the machine's own
	if text := output(t, verify); text != "" {
		t.Errorf("systemd says:\n%s", text)
	}
}

// TestInstall: from a Debian system with the package caddy to a guarded site, and back.
func TestInstall(t *testing.T) {
	caddy := stages(t) + "/bin/caddy"
	m := newMachine(t)
	packaged := m.read(t, "usr/bin/caddy")

	m.install(t, caddy, "sandbox-simulator\nsimulator-secret\n")
	m.unpack(t)
	if m.read(t, "usr/bin/caddy") != read(t, caddy) || m.read(t, "usr/bin/caddy.default") != packaged {
		t.Error("an upgrade of the package replaces the Caddy with the module")
	}
	for _, credential := range m.settings(t, "LoadCredential") {
		_, source, _ := strings.Cut(credential, ":")
		if mode := output(t, asRoot(t, "stat", "-c", "%a %U", m.path(source), filepath.Dir(m.path(source)))); mode != "600 root\n700 root\n" {
			t.Errorf("%s and its folder have the modes %q", source, mode)
		}
	}
	m.verify(t)

	simulatorPort, site := port(t), port(t)
	authServer := "http://127.0.0.1:" + simulatorPort
	start(t, command(t, stages(t)+"/bin/simulator", "-listen=127.0.0.1:"+simulatorPort, "-redirect-uri=http://localhost:"+site+"/truelayer"))
	edited := strings.NewReplacer("localhost:8080", "localhost:"+site, "environment sandbox", "environment sandbox\n\t\tauth_server "+authServer).
		Replace(m.read(t, "etc/caddy/Caddyfile"))
	tee := asRoot(t, "tee", m.path("etc/caddy/Caddyfile"))
	tee.Stdin = strings.NewReader(edited)
	output(t, tee)
	m.install(t, caddy, "")
	if m.read(t, "etc/caddy/Caddyfile") != edited {
		t.Error("a second installation replaces the Caddyfile")
	}

	running := m.start(t)
	socket := m.path("run/caddy/admin.sock")
	succeeds(t, func() *exec.Cmd {
		return asRoot(t, "curl", "--silent", "--fail", "--unix-socket", socket, "http://localhost/truelayer/health/ready")
	})
	if limits := limits(t, running); !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).MatchString(limits) {
		t.Errorf("Caddy has the limits\n%s", limits)
	}
	v := newVisitor(t, "http://localhost:"+site)
	if page := v.connect(t, "/", authServer); page != "You are connected to mock." {
		t.Errorf("the guarded page is %q", page)
	}
	output(t, m.chroot(t, m.settings(t, "ExecReload")[0]))
	output(t, m.chroot(t, "/usr/bin/caddy truelayer doctor --address unix//run/caddy/admin.sock"))
	if strings.Contains(running.said(), "simulator-secret") {
		t.Error("the client secret is in the log")
	}
}
