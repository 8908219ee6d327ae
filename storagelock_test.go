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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// notedLocks is a file system that notes what locks it was asked for.
type notedLocks struct {
	*certmagic.FileStorage
	mu    sync.Mutex
	names map[string]bool
}

// noteLocks notes a store's locks from now on.
func noteLocks(t *testing.T, s *StorageStore) *notedLocks {
	t.Helper()
	files, ok := s.records.storage.(*certmagic.FileStorage)
	if !ok {
		t.Fatalf("the store is on a %T", s.records.storage)
	}
	n := &notedLocks{FileStorage: files, names: make(map[string]bool)}
	s.records.storage = n
	return n
}

func (n *notedLocks) Lock(ctx context.Context, name string) error {
	n.mu.Lock()
	n.names[name] = true
	n.mu.Unlock()
	return n.FileStorage.Lock(ctx, name)
}

// leave leaves something in the place of every lock's file.
func (n *notedLocks) leave(t *testing.T, write func(file string) error) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.names) == 0 {
		t.Fatal("there are no locks")
	}
	for name := range n.names {
		if err := write(filepath.Join(n.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock")); err != nil {
			t.Fatal(err)
		}
	}
}

func text(content string) func(string) error {
	return func(file string) error { return os.WriteFile(file, []byte(content), 0o600) }
}

// heldSince is the lock file of a process that died, ago before now.
func heldSince(ago time.Duration) func(string) error {
	return func(file string) error {
		at := time.Now().Add(-ago).Format(time.RFC3339Nano)
		return os.WriteFile(file, fmt.Appendf(nil, `{"created":%q,"updated":%q}`, at, at), 0o600)
	}
}

// lockFiles are lock files of which no process knows anything.
var lockFiles = map[string]func(file string) error{
	"empty":                    text(""),
	"zeros":                    text(strings.Repeat("\x00", 100)),
	"half":                     text(`{"created":"2026-01-02T03:04:05Z","upd`),
	"text":                     text("locked by node 7\n"),
	"a number":                 text("4711"),
	"null":                     text("null"),
	"no times":                 text("{}"),
	"times that are none":      text(`{"created":"yesterday","updated":"today"}`),
	"long":                     text(strings.Repeat("{", 1<<20)),
	"a directory":              func(file string) error { return os.Mkdir(file, 0o700) },
	"of a process that died":   heldSince(0),
	"of one that did long ago": heldSince(24 * time.Hour),
	"of a time yet to come":    heldSince(-24 * time.Hour),
	"of a time yet to come, UTC": func(file string) error {
		return text(`{"created":"2999-01-02T03:04:05Z","updated":"2999-01-02T03:04:05Z"}`)(file)
	},
}

// storageActs are all that takes locks.
var storageActs = map[string]func(ctx context.Context, s *StorageStore) error{
	"Create": func(ctx context.Context, s *StorageStore) error {
		return s.Create(ctx, "other", []byte("a"), time.Hour)
	},
	"Replace": func(ctx context.Context, s *StorageStore) error {
		return s.Replace(ctx, "id", []byte("a"), []byte("a"), time.Hour)
	},
	"Delete": func(ctx context.Context, s *StorageStore) error { return s.Delete(ctx, "other") },
	"Lock": func(ctx context.Context, s *StorageStore) error {
		unlock, err := s.Lock(ctx, "id")
		if err == nil {
			unlock()
		}
		return err
	},
	"the sweep": func(ctx context.Context, s *StorageStore) error { return s.records.sweepIfDue(ctx) },
}

// stuckStorage calls f in a bubble, for each of what takes locks, with a store
// whose locks' names are known.
func stuckStorage(t *testing.T, f func(t *testing.T, s *StorageStore, locks *notedLocks, act func() error)) {
	t.Helper()
	for name, act := range storageActs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openStorage(t, t.TempDir(), 0)
				locks := noteLocks(t, s)
				defer func() { // who keeps a lock's file fresh ends when it is gone
					_ = os.RemoveAll(locks.Path)
					time.Sleep(time.Minute)
				}()
				if err := s.Create(t.Context(), "id", []byte("a"), time.Hour); err != nil {
					t.Fatal(err)
				}
				prepare := func() {
					_ = s.records.storage.Delete(t.Context(), lastSweepKey)
					_ = s.Delete(t.Context(), "other")
					if name == "Delete" {
						_ = s.Create(t.Context(), "other", []byte("a"), time.Hour)
					}
				}
				prepare()
				if err := act(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				prepare()
				f(t, s, locks, func() error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					return act(ctx, s)
				})
			})
		})
	}
}

// TestStorageLockFiles: a lock's file that nobody has written, or somebody who
// died, holds nothing up for more than some seconds.
func TestStorageLockFiles(t *testing.T) {
	for name, write := range lockFiles {
		t.Run(name, func(t *testing.T) {
			stuckStorage(t, func(t *testing.T, s *StorageStore, locks *notedLocks, act func() error) {
				time.Sleep(time.Minute) // nobody keeps an earlier lock fresh
				locks.leave(t, write)
				start := time.Now()
				if err := act(); err != nil {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				if _, err := s.Get(t.Context(), "id"); err != nil {
					t.Errorf("the record: %v", err)
				}
			})
		})
	}
}

// TestStorageLockKeptFresh: another process than its holder, which died, keeps
// a lock's file fresh: its own of the same name it gave back just before.
func TestStorageLockKeptFresh(t *testing.T) {
	stuckStorage(t, func(t *testing.T, s *StorageStore, locks *notedLocks, act func() error) {
		locks.leave(t, heldSince(0))
		time.Sleep(time.Minute)
		start := time.Now()
		if err := act(); err != nil {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// TestStorageLockNames: what is in the place of a lock's name may be anything.
func TestStorageLockNames(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "zeros": strings.Repeat("\x00", 100), "a path": "../../etc/passwd", "long": strings.Repeat("x", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			one, other := openStorage(t, folder, 0), openStorage(t, folder, 0)
			if err := one.Create(t.Context(), "id", []byte("a"), time.Hour); err != nil {
				t.Fatal(err)
			}
			if err := text(content)(filepath.Join(folder, storagePrefix, "69", "6964"+lockNameSuffix)); err != nil {
				t.Fatal(err)
			}
			if err := one.Replace(t.Context(), "id", []byte("a"), []byte("b"), time.Hour); err != nil {
				t.Error(err)
			}
			if err := other.Delete(t.Context(), "id"); err != nil {
				t.Error(err)
			}
			if names := files(t, folder); len(names) > 0 {
				t.Errorf("%q are left", names)
			}
		})
	}
}

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
		s.records.storage = killedWriter{s.records.storage.(*certmagic.FileStorage)}
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
