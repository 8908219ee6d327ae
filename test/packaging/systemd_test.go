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
	return output(t, m.installation(t, caddy, input))
}

func (m *machine) installation(t *testing.T, argument, input string) *exec.Cmd {
	t.Helper()
	install := asRoot(t, systemd+"install", "--root", m.root, argument)
	install.Stdin = strings.NewReader(input)
	return install
}

// has reports whether the machine has a file.
func (m *machine) has(t *testing.T, path string) bool {
	t.Helper()
	return asRoot(t, "test", "-e", m.path(path)).Run() == nil
}

// write writes a file of the machine.
func (m *machine) write(t *testing.T, path, text string) {
	t.Helper()
	tee := asRoot(t, "tee", m.path(path))
	tee.Stdin = strings.NewReader(text)
	output(t, tee)
}

// read returns a file of the machine.
func (m *machine) read(t *testing.T, path string) string {
	t.Helper()
	return output(t, asRoot(t, "cat", m.path(path)))
}

// unit returns the package's unit, which Debian 12 has in /lib.
func (m *machine) unit(t *testing.T) string {
	t.Helper()
	for _, folder := range []string{"usr/lib", "lib"} {
		if path := folder + "/systemd/system/caddy.service"; m.has(t, path) {
			return m.read(t, path)
		}
	}
	t.Fatal("the package has no unit")
	return ""
}

// settings returns the values of a setting in the unit and in what was installed for it.
func (m *machine) settings(t *testing.T, name string) (values []string) {
	t.Helper()
	unit := m.unit(t) + m.read(t, "etc/systemd/system/caddy.service.d/10-truelayer.conf")
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
	unit := strings.ReplaceAll(m.unit(t), "=/usr/bin/caddy ", "="+m.path("usr/bin/caddy")+" ")
	directory := t.TempDir()
	write(t, directory+"/caddy.service", unit)
	write(t, directory+"/caddy.service.d/10-truelayer.conf", m.read(t, "etc/systemd/system/caddy.service.d/10-truelayer.conf"))
	packaged := read(t, repository+"/packaging/caddy.service.d/caddy-truelayer.conf")
	if !strings.Contains(packaged, "=/usr/bin/caddy-truelayer ") {
		t.Errorf("the package's drop-in runs no caddy-truelayer:\n%s", packaged)
	}
	write(t, directory+"/caddy.service.d/caddy-truelayer.conf", strings.ReplaceAll(packaged, "=/usr/bin/caddy-truelayer ", "="+m.path("usr/bin/caddy")+" "))
	verify := command(t, "systemd-analyze", "verify", "--man=no", "caddy.service")
	verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+directory+":") // and after these the machine's own
	if text := output(t, verify); text != "" {
		t.Errorf("systemd says:\n%s", text)
	}
}

// TestInstallUndone: what is missing is missed before anything is changed; a Caddyfile of the
// operator's own stays; and all can be undone.
func TestInstallUndone(t *testing.T) {
	caddy := stages(t) + "/bin/caddy"
	m := newMachine(t)
	packaged := m.read(t, "usr/bin/caddy")
	unchanged := func(what string) {
		t.Helper()
		for _, path := range []string{"etc/systemd/system/caddy.service.d/10-truelayer.conf", "etc/credstore/truelayer-client-secret", "usr/bin/caddy.default"} {
			if m.has(t, path) {
				t.Errorf("%s: there is %s", what, path)
			}
		}
		if m.read(t, "usr/bin/caddy") != packaged {
			t.Errorf("%s: the package's Caddy is not there", what)
		}
	}
	m.write(t, "etc/caddy/Caddyfile", "app.example.com {\n\tof_another_module\n}\n")
	if text, err := m.installation(t, caddy, "sandbox-simulator\nsimulator-secret\n").CombinedOutput(); err == nil || !strings.Contains(string(text), "of_another_module") {
		t.Errorf("a Caddyfile that the Caddy with the module cannot read: %s", text)
	}
	unchanged("another module")
	output(t, asRoot(t, "rm", m.path("etc/caddy/Caddyfile")))
	for what, install := range map[string]*exec.Cmd{
		"no secret": m.installation(t, caddy, "sandbox-simulator\n"), "no Caddy": m.installation(t, "/bin/true", "id\nsecret\n"), "undone too early": m.installation(t, "--undo", ""),
	} {
		if text, err := install.CombinedOutput(); err == nil {
			t.Errorf("%s: %s", what, text)
		}
		unchanged(what)
	}

	// as it is after dpkg has configured the package, without the rest of a system
	output(t, asRoot(t, "dpkg", "--root="+m.root, "--force-depends", "--configure", "caddy"))
	original := m.read(t, "etc/caddy/Caddyfile")
	m.install(t, caddy, "sandbox-simulator\nsimulator-secret\n")
	if !strings.Contains(m.read(t, "etc/caddy/Caddyfile"), "\ttruelayer {") {
		t.Error("the package's own Caddyfile is still there")
	}
	m.write(t, "etc/caddy/Caddyfile", "# edited\n"+m.read(t, "etc/caddy/Caddyfile"))
	output(t, m.installation(t, "--undo", ""))
	unchanged("undone")
	if !strings.HasPrefix(m.read(t, "etc/caddy/Caddyfile.truelayer"), "# edited\n") {
		t.Error("undone: what the operator has written is lost")
	}
	if m.read(t, "etc/caddy/Caddyfile") != original {
		t.Error("undone: the package's own Caddyfile is not there")
	}

	const own = "app.example.com {\n\timport sites/*\n}\n"
	m.write(t, "etc/caddy/Caddyfile", own)
	if said := m.install(t, caddy, "sandbox-simulator\nsimulator-secret\n"); m.read(t, "etc/caddy/Caddyfile") != own || !strings.Contains(said, "your own") {
		t.Errorf("the operator's own Caddyfile was replaced, or nothing was said of it: %s", said)
	}
	output(t, m.installation(t, "--undo", ""))
	if unchanged("undone again"); m.read(t, "etc/caddy/Caddyfile") != own {
		t.Error("undone again: the operator's own Caddyfile was replaced")
	}
}

// TestInstallRefuses: what somebody else has set up is neither replaced nor deleted.
func TestInstallRefuses(t *testing.T) {
	caddy := stages(t) + "/bin/caddy"
	m := newMachine(t)
	packaged := m.read(t, "usr/bin/caddy")
	refused := func(what, argument, because string) {
		t.Helper()
		text, err := m.installation(t, argument, "sandbox-simulator\nsimulator-secret\n").CombinedOutput()
		if err == nil || !strings.Contains(string(text), because) {
			t.Errorf("%s: %s", what, text)
		}
	}
	divert := func(arguments ...string) {
		output(t, asRoot(t, "dpkg-divert", append([]string{"--root=" + m.root, "--quiet", "--rename"}, arguments...)...))
	}

	m.write(t, "usr/bin/caddy.default", "somebody's")
	refused("a file where the package's Caddy would go", caddy, "is in the way")
	output(t, asRoot(t, "rm", m.path("usr/bin/caddy.default")))

	for _, place := range []string{"/usr/bin/caddy.default", "/usr/bin/caddy.other"} {
		divert("--divert", place, "--add", "/usr/bin/caddy")
		m.write(t, "usr/bin/caddy", "somebody's")
		refused("diverted to "+place, caddy, "diverted")
		refused("undone, diverted to "+place, "--undo", "nothing to undo")
		if m.read(t, "usr/bin/caddy") != "somebody's" || m.read(t, place) != packaged {
			t.Errorf("%s: somebody's Caddy is gone", place)
		}
		output(t, asRoot(t, "rm", m.path("usr/bin/caddy")))
		divert("--remove", "/usr/bin/caddy")
	}

	output(t, asRoot(t, "mv", m.path("usr/bin/caddy"), m.path("usr/bin/caddy.custom")))
	output(t, asRoot(t, "ln", "-s", "caddy.custom", m.path("usr/bin/caddy")))
	refused("a link", caddy, "symbolic link")
	output(t, asRoot(t, "mv", m.path("usr/bin/caddy.custom"), m.path("usr/bin/caddy")))

	m.install(t, caddy, "sandbox-simulator\nsimulator-secret") // without a line break at the end
	refused("the Caddy in place", m.path("usr/bin/caddy"), "is "+m.path("usr/bin/caddy")+" itself")
	m.write(t, "etc/caddy/Caddyfile", "app.example.com {\n\ttruelayer\n}\n")
	refused("undone, with a Caddyfile that the package's Caddy cannot load", "--undo", "take the truelayer blocks out")
	if m.read(t, "usr/bin/caddy") != read(t, caddy) || m.read(t, "etc/credstore/truelayer-client-secret") != "simulator-secret\n" {
		t.Error("undone in part")
	}
}

// TestInstall: from a Debian system with the package caddy to a guarded site.
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
	m.write(t, "etc/caddy/Caddyfile", edited)
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
