package cluster

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// earlierRelease is what TestUpgrade upgrades from. Until there is a release it is a commit.
const earlierRelease = "a211b8b922f42c105fd11c444843543bd15f8aa7"

// TestUpgrade upgrades three nodes one after the other while visitors open pages and their
// tokens are refreshed. Nobody has to log in again, neither then nor after one node went
// back to the earlier release.
func TestUpgrade(t *testing.T) {
	earlier := buildEarlier(t)
	for name, store := range durableStores {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t, Config{Caddy: earlier, Nodes: 3, Store: store(t)}).Start()
			w.rotate(true) // a refresh token works once
			w.tokensLast(2 * time.Second)
			browsers := w.signIn(t, 20)
			exchanges := w.Sim.CallsGrant("authorization_code")

			ending := make(chan struct{})
			var visitors sync.WaitGroup
			var seen tally
			for _, b := range browsers {
				visitors.Go(func() { w.visitUntil(t, b, ending, &seen) })
			}
			for _, node := range w.Nodes {
				node.Upgrade(caddyBinary)
			}
			close(ending)
			visitors.Wait()
			t.Logf("during the upgrade: %v", &seen)

			w.allSignedIn(t, browsers)
			equal(t, "logins", w.Sim.CallsGrant("authorization_code"), exchanges)
			browsers = append(browsers, w.signIn(t, 3)...)
			w.Nodes[0].Upgrade(earlier)
			w.allSignedIn(t, browsers)
			equal(t, "logins", w.Sim.CallsGrant("authorization_code"), exchanges+3)
		})
	}
}

// visitUntil opens pages, and at least one. A visitor who has a session gets them.
func (w *World) visitUntil(t *testing.T, b *Browser, ending <-chan struct{}, seen *tally) {
	for {
		a, err := b.Fetch(t.Context(), w.Front+"/page")
		if err != nil || a.Status != http.StatusOK {
			t.Errorf("%v %v", a, err)
			return
		}
		seen.add("answered")
		select {
		case <-ending:
			return
		case <-time.After(20 * time.Millisecond): // a person reads
		}
	}
}

func (w *World) allSignedIn(t *testing.T, browsers []*Browser) {
	t.Helper()
	for _, node := range w.Nodes {
		for i, b := range browsers {
			if !w.signedIn(t, b, node) {
				t.Errorf("%s: browser %d has lost its session", node.name, i)
			}
		}
	}
}

// buildEarlier builds the earlier release from the repository's history. Sources without a
// history, and a clone without all of it, upgrade from this very build, and say so.
func buildEarlier(t *testing.T) (binary string) {
	t.Helper()
	git := func(arguments ...string) *exec.Cmd {
		// in a container the checkout often belongs to another user
		return exec.CommandContext(t.Context(), "git", append([]string{"-c", "safe.directory=*", "-C", "../.."}, arguments...)...) //nolint:gosec // a program of the tests' own
	}
	if shallow, err := git("rev-parse", "--is-shallow-repository").Output(); err != nil || string(shallow) != "false\n" {
		t.Logf("note: there is no history, or not all of it, so this build is upgraded to itself: git fetch --unshallow brings %s", earlierRelease)
		return caddyBinary
	}
	var says bytes.Buffer
	command := git("archive", earlierRelease)
	command.Stderr = &says
	archive, err := command.Output()
	if err != nil {
		t.Fatalf("git archive %s: %v\n%s", earlierRelease, err, &says)
	}
	source := t.TempDir()
	if err := extract(archive, source); err != nil {
		t.Fatal(err)
	}
	binary, err = buildFrom(t.Context(), source, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// extract writes the files of an archive.
func extract(archive []byte, directory string) error {
	for files := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg || !filepath.IsLocal(header.Name) {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		file := filepath.Join(directory, header.Name) //nolint:gosec // local, and of our own history
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, text, 0o600)); err != nil {
			return err
		}
	}
}
