package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// storedRecord is a record's file in Caddy's storage: eight bytes that say when
// the storage may forget it, and the record.
type storedRecord struct {
	path  string
	bytes []byte
}

const (
	storedEnd     = 8 // of the bytes that are the storage's, where the record begins
	recordVersion = storedEnd
	recordKind    = storedEnd + 1
	recordHeader  = storedEnd + 4 // behind version, kind and the header's length
	nonceSize     = 12
)

// nonce is where the header ends and the nonce begins.
func (r *storedRecord) nonce() int {
	return recordHeader + int(binary.BigEndian.Uint16(r.bytes[recordHeader-2:]))
}

// storedSince are the records that are not among the earlier ones, by their kind.
func (w *world) storedSince(earlier map[string]bool) map[byte]*storedRecord {
	w.t.Helper()
	found := make(map[byte]*storedRecord)
	data := os.DirFS(w.Data)
	err := fs.WalkDir(data, "truelayer/sessions", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || earlier[name] {
			return err
		}
		text, err := fs.ReadFile(data, name)
		if err == nil {
			found[text[recordKind]] = &storedRecord{filepath.Join(w.Data, name), text}
			earlier[name] = true
		}
		return err
	})
	if err != nil || len(found) != 2 || found['s'] == nil || found['c'] == nil {
		w.t.Fatalf("a login has stored %v, error %v", found, err)
	}
	return found
}

// write puts bytes into the record's place, at once as the storage does.
func (r *storedRecord) write(t *testing.T, content []byte) {
	t.Helper()
	written := filepath.Join(t.TempDir(), "record")
	if err := errors.Join(os.WriteFile(written, content, 0o600), os.Rename(written, r.path)); err != nil {
		t.Fatal(err)
	}
}

// TestRecordsInStorage: who writes into Caddy's storage can make a session go
// away while it is written over, and nothing else: it is absent, which a line
// in the log says for each request, and back with the bytes that were there.
func TestRecordsInStorage(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "store storage {\n\t\t\tcache_ttl 0\n\t\t}"
	})
	files := make(map[string]bool)
	b := w.signedIn()
	ours := w.storedSince(files)
	session, claim := ours['s'], ours['c']
	other := w.signedIn()
	theirs := w.storedSince(files)['s']
	opened := func(what string, b *browser) {
		t.Helper()
		since := w.log.mark(t)
		equal(t, what+": the page", b.fetch(w.Site+"/page").body, "hello")
		equal(t, what+": refusals in the log", strings.Count(since(), `"msg":"opening a session's record failed"`), 0)
	}
	const refusal = `"msg":"opening a session's record failed"`
	refused := func(what string, b *browser) {
		t.Helper()
		before, _ := w.app.requests()
		since := w.log.mark(t)
		a := b.fetch(w.Site + "/page")
		equal(t, what+": status", a.StatusCode, 401)
		w.oneLine(t, strings.Count(since(), refusal), refusal)
		since = w.log.mark(t)
		equal(t, what+": connected", w.info(b)["connected"], any(false))
		w.oneLine(t, strings.Count(since(), refusal), refusal)
		if after, _ := w.app.requests(); after != before {
			t.Errorf("%s: the request reached the application", what)
		}
	}
	opened("as it is", b)

	at := func(i int, change func(byte) byte) []byte {
		changed := bytes.Clone(session.bytes)
		changed[i] = change(changed[i])
		return changed
	}
	flip := func(i int) []byte { return at(i, func(b byte) byte { return b ^ 1 }) }
	nonce, end := session.nonce(), len(session.bytes)
	changes := map[string][]byte{
		"an earlier version":         flip(recordVersion),
		"a later version":            at(recordVersion, func(b byte) byte { return b + 1 }),
		"a version of 255":           at(recordVersion, func(byte) byte { return 255 }),
		"a claim by its kind":        at(recordKind, func(byte) byte { return 'c' }),
		"a kind of its own":          flip(recordKind),
		"the header's length":        flip(recordHeader - 1),
		"a header beyond the record": flip(recordHeader - 2),
		"the header's first byte":    flip(recordHeader),
		"the header's end of life":   flip(recordHeader + 23),
		"the header's client":        flip(nonce - len(clientID)),
		"the header's last byte":     flip(nonce - 1),
		"the nonce's first byte":     flip(nonce),
		"the nonce's last byte":      flip(nonce + nonceSize - 1),
		"the body's first byte":      flip(nonce + nonceSize),
		"the body's middle":          flip((nonce + nonceSize + end) / 2),
		"the seal's first byte":      flip(end - 16),
		"the last byte":              flip(end - 1),
		"without the last byte":      session.bytes[:end-1],
		"a byte more":                append(bytes.Clone(session.bytes), 0),
		"no body":                    session.bytes[:nonce+nonceSize],
		"no nonce":                   session.bytes[:nonce],
		"only the storage's bytes":   session.bytes[:storedEnd],
		"a login's claim":            claim.bytes,
		"a claim that lasts as long": append(bytes.Clone(session.bytes[:storedEnd]), claim.bytes[storedEnd:]...),
		"another session's record":   theirs.bytes,
		"another session's body":     append(bytes.Clone(session.bytes[:nonce]), theirs.bytes[theirs.nonce():]...),
		"our body, another's header": append(bytes.Clone(theirs.bytes[:theirs.nonce()]), session.bytes[nonce:]...),
		"zeros":                      append(bytes.Clone(session.bytes[:storedEnd]), make([]byte, end-storedEnd)...),
	}
	for _, what := range slices.Sorted(maps.Keys(changes)) {
		session.write(t, changes[what])
		refused(what, b)
		session.write(t, session.bytes)
		opened(what+", put back", b)
	}
	opened("another session, all the while", other)

	session.write(t, theirs.bytes)
	theirs.write(t, session.bytes)
	refused("one of two that were swapped", b)
	refused("the other of the two", other)
	session.write(t, session.bytes)
	theirs.write(t, theirs.bytes)
	opened("one of two that were swapped, put back", b)
	opened("the other of the two, put back", other)
}
