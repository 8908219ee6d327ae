package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// logFile is what Caddy wrote.
type logFile struct{ path string }

func (l *logFile) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mark returns a function that tells what is written from now on.
func (l *logFile) mark(t *testing.T) (since func() string) {
	t.Helper()
	info, err := os.Stat(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		file, err := os.Open(l.path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		text, err := io.ReadAll(io.NewSectionReader(file, info.Size(), 1<<30))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// diagnostics returns the lines that the module writes itself, without the audit trail's,
// and without Caddy's lines about the same events.
func diagnostics(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, `"logger":"http.handlers.truelayer",`) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// secrets are what a world's browsers were given. What TrueLayer issued the
// simulator knows.
type secrets struct {
	network http.RoundTripper // nil is net/http's
	mu      sync.Mutex
	texts   []string
}

func (s *secrets) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, texts...)
}

func (s *secrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// RoundTrip is a browser's way to the network.
func (s *secrets) RoundTrip(r *http.Request) (*http.Response, error) {
	network := s.network
	if network == nil {
		network = http.DefaultTransport
	}
	resp, err := network.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	s.learn(resp)
	return resp, nil
}

// learn adds what an answer gives away: cookies, and the state of auth links.
func (s *secrets) learn(resp *http.Response) {
	for _, c := range resp.Cookies() {
		s.add(c.Value)
	}
	if link, err := resp.Location(); err == nil {
		s.add(link.Query().Get("state"), link.Query().Get("code_challenge"))
	}
}

// leaks says which secrets are in what was written, and where: in logs, in the
// storage, in metrics. It shows the beginnings of secrets only.
func (w *world) leaks(metrics string) (found []string) {
	w.t.Helper()
	written := map[string]string{"metrics": metrics}
	data := os.DirFS(w.Data)
	err := fs.WalkDir(data, ".", func(name string, entry fs.DirEntry, err error) error {
		var text []byte
		if err == nil && entry.Type().IsRegular() {
			text, err = fs.ReadFile(data, name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // while Caddy runs, its storage comes and goes
		}
		if written[name] = string(text); name == "access.log" {
			written[name] = withoutAstray(string(text))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var parts []string
	for _, secret := range append(w.sim.Secrets(), w.secrets.all()...) {
		if jwt := strings.Split(secret, "."); len(jwt) == 3 {
			parts = append(parts, jwt[1:]...) // the header is no secret; of the rest either half says enough
		} else {
			parts = append(parts, secret)
		}
	}
	look := finder(parts)
	for name, text := range written {
		for part := range look(text) {
			found = append(found, fmt.Sprintf("%s has %.12s…", name, part))
		}
	}
	return found
}

// finder looks for many texts at once, by their first eight bytes: a test may
// have thousands of secrets and write megabytes. Shorter ones are left out; a
// test's own "x" is found anywhere.
func finder(texts []string) func(in string) map[string]bool {
	const start = 8
	byStart := make(map[uint64][]string)
	var maybe [1 << 16]bool // most starts are none, which an array tells sooner
	slot := func(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 48 }
	for _, text := range texts {
		if len(text) > start {
			key := binary.BigEndian.Uint64([]byte(text))
			byStart[key] = append(byStart[key], text)
			maybe[slot(key)] = true
		}
	}
	return func(in string) map[string]bool {
		found := make(map[string]bool)
		var key uint64
		for i := range len(in) {
			key = key<<8 | uint64(in[i])
			if i+1 < start || !maybe[slot(key)] {
				continue
			}
			for _, text := range byStart[key] {
				if strings.HasPrefix(in[i+1-start:], text) {
					found[text] = true
				}
			}
		}
		return found
	}
}

// withoutAstray takes out of an access log what tests themselves put where it
// does not belong, and where neither Caddy nor the filter looks for it: tokens
// in fields for something else, codes under other names.
func withoutAstray(log string) string {
	var kept strings.Builder
	for log != "" {
		var before, fields string
		before, log, _ = strings.Cut(log, `"headers":{`)
		fields, log, _ = strings.Cut(log, "}")
		kept.WriteString(before)
		for _, name := range []string{"Cookie", "Authorization", "Proxy-Authorization"} {
			_, values, _ := strings.Cut(fields, `"`+name+`":[`)
			values, _, _ = strings.Cut(values, "]")
			kept.WriteString(values)
		}
	}
	return asArrays.ReplaceAllString(kept.String(), "")
}

// asArrays is a callback that one test asks for.
var asArrays = regexp.MustCompile(`code\[\]=[^&"]*&state\[\]=[^&"]*`)

// metrics is what a scrape would show.
func (w *world) metrics() string {
	w.t.Helper()
	active := caddy.ActiveContext()
	registry := active.GetMetricsRegistry()
	if registry == nil {
		return "" // nothing runs
	}
	families, err := registry.Gather()
	if err != nil {
		w.t.Error(err)
	}
	return fmt.Sprint(families)
}
