package truelayer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// killedFolder names the variable that tells a process of this program to
// write there and to be killed.
const killedFolder = "TRUELAYER_TEST_KILLED_FOLDER"

// killedWriter is a file system whose process is killed at its first write.
type killedWriter struct{ *certmagic.FileStorage }

func (killedWriter) Store(context.Context, string, []byte) error {
	process, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		return err
	}
	select {}
}

// TestStorageHolderKilled: a process is killed while it has the lock of a
// record that this one had written just before. What this one does for the lock
// that it gave back, which is to keep it fresh, does not keep the dead one's.
func TestStorageHolderKilled(t *testing.T) {
	if folder := os.Getenv(killedFolder); folder != "" {
		s := openStorage(t, folder, 0)
		s.storage = killedWriter{s.storage.(*certmagic.FileStorage)}
		fmt.Println("ready")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		t.Fatal(s.Replace(t.Context(), "id", []byte("a"), []byte("b"), time.Hour))
	}
	t.Parallel()
	folder := t.TempDir()
	killed := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$") //nolint:gosec // this program
	killed.Env = append(os.Environ(), killedFolder+"="+folder)
	in, inErr := killed.StdinPipe()
	out, outErr := killed.StdoutPipe()
	if err := errors.Join(inErr, outErr, killed.Start()); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	s := openStorage(t, folder, 0)
	if err := s.Create(t.Context(), "id", []byte("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if names := files(t, filepath.Join(folder, "locks")); killed.ProcessState.Exited() || len(names) != 1 {
		t.Fatalf("%v, with the locks %q", killed.ProcessState, names)
	}
	deadline := time.Now().Add(20 * time.Second) // a lock is stale after ten
	for {
		err := s.Replace(t.Context(), "id", []byte("a"), []byte("c"), time.Hour)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the session cannot be written: %v", err)
		}
	}
	unlock, err := s.Lock(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := s.Delete(t.Context(), "id"); err != nil {
		t.Fatal(err)
	}
	if names := files(t, folder); len(names) > 0 {
		t.Errorf("%q are left", names)
	}
}

// TestDamagedLockFiles: a session whose locks' files are damaged is refreshed,
// touched and ended all the same, and others log in.
func TestDamagedLockFiles(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"zeros": strings.Repeat("\x00", 100), "half": `{"created":"2026-01-02T03:04:05Z","upd`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newRefreshBench(t, func(h *Handler) { h.IdleTimeout = caddy.Duration(24 * time.Hour) })
			s := openStorage(t, t.TempDir(), 0)
			locks := noteLocks(t, s)
			b.sessions.Store = s
			damage := func() { locks.leave(t, text(content)) }
			v := signedIn(t, b)
			first := v.token(t, b)
			b.clock.advance(2 * time.Hour)
			second := v.token(t, b)
			if second == first {
				t.Fatal("it was not refreshed")
			}
			damage()
			b.clock.advance(46 * time.Minute)
			if v.token(t, b) != second { // and waits for the touch
				t.Error("another token")
			}
			secret := v.secret(t, b)
			most := b.clock.now().Add(24*time.Hour + 24*time.Hour/32)
			if s, err := b.sessions.Look(t.Context(), []session.Secret{secret}, b.clock.now()); err != nil || s == nil || b.sessions.Ends(s, b.clock.now()).Before(most) {
				t.Errorf("its use was not written down: %v", err)
			}
			damage()
			b.clock.advance(2 * time.Hour)
			deadline := time.Now().Add(30 * time.Second)
			for !v.lasts(t, b) { // its token has expired
				if time.Now().After(deadline) {
					t.Fatal("it is not refreshed")
				}
			}
			damage()
			if signedIn(t, b).token(t, b) == "" {
				t.Error("nobody else can log in")
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, testOrigin+"/truelayer/logout", nil)
			r.Header.Set("Origin", testOrigin)
			r.AddCookie(&http.Cookie{Name: b.site.cookies.session, Value: v[b.site.cookies.session]}) //nolint:gosec // as browsers send them
			w := httptest.NewRecorder()
			if err := b.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), nil); err != nil || w.Code != http.StatusSeeOther {
				t.Errorf("the logout: %d, %v", w.Code, err)
			}
			if v.lasts(t, b) {
				t.Error("the session lasts")
			}
		})
	}
}
