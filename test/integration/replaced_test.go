package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplacedFields: a header block with a deletion changes answers after the
// module has written them. The log says so once for each field, with the form
// that does no harm; with that form nothing is lost and nothing is said.
func TestReplacedFields(t *testing.T) {
	for name, test := range map[string]struct {
		mark string
		lost bool
	}{"replaced": {"", true}, "set where missing": {"?", false}} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) {
				w.Matcher = "/account*"
				w.Before = strings.ReplaceAll(`
	header {
		-Server
		#Cache-Control "max-age=300"
		#Referrer-Policy unsafe-url
		#Content-Security-Policy "default-src *"
	}`, "#", test.mark)
			})
			b := w.signedInAt("/account")
			for range 3 {
				for what, a := range map[string]*answer{
					"forwarded":      b.navigate(w.Site + "/account"),
					"a redirect":     w.browser().navigate(w.Site + "/account"),
					"a problem":      w.browser().fetch(w.Site + "/account"),
					"a page":         b.navigate(w.Site + "/truelayer"),
					"the session":    b.fetch(w.Site + "/truelayer/session"),
					"a confirmation": b.navigate(w.Site + "/truelayer/logout"),
				} {
					want := "no-store"
					switch {
					case test.lost:
						want = "max-age=300"
					case what == "forwarded":
						want = "private"
					}
					equal(t, what+": Cache-Control", a.Header.Get("Cache-Control"), want)
				}
			}
			equal(t, "public pages", b.navigate(w.Site+"/public").Header.Get("Cache-Control"), "max-age=300")
			for _, field := range []string{"Cache-Control", "Referrer-Policy", "Content-Security-Policy"} {
				warnings := strings.Count(w.log.text(t), fmt.Sprintf("write ?%s instead of %s to set", field, field))
				equal(t, field+": warnings", warnings, map[bool]int{true: 1}[test.lost])
			}
		})
	}
}

// TestReplacedVary: a deferred Vary in place of ours is told of.
func TestReplacedVary(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Before = "header {\n -Server\n Vary Accept\n }" })
	equal(t, "Vary", w.browser().fetch(w.Site+"/page").Header.Get("Vary"), "Accept")
	equal(t, "warnings", strings.Count(w.log.text(t), "or +Vary to add to it"), 1)
}

// TestRangeNotSatisfiable: that the file server takes Cache-Control off an answer
// with 416 is nobody's mistake. One that is taken off another answer is told of.
func TestRangeNotSatisfiable(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.txt"), []byte("a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, plain, func(w *world) {
		w.Before = "@late path /late\n header @late {\n -Cache-Control\n defer\n }\n rewrite /late /a.txt"
		w.After = "handle /*.txt {\n root " + folder + "\n file_server\n }"
	})
	b := w.signedIn()
	for range 2 {
		equal(t, "status", b.do("GET", w.Site+"/a.txt", "Range", "bytes=100-200").StatusCode, http.StatusRequestedRangeNotSatisfiable)
	}
	equal(t, "warnings", strings.Count(w.log.text(t), "has replaced a header field"), 0)
	equal(t, "status", b.do("GET", w.Site+"/late").StatusCode, http.StatusOK)
	equal(t, "warnings", strings.Count(w.log.text(t), "has replaced a header field"), 1)
}

// TestReplacedFieldsElsewhere: what an application or another handler adds is not
// taken for a loss.
func TestReplacedFieldsElsewhere(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Before = "header Cache-Control max-age=300\n header X-Frame-Options DENY\n header {\n -Server\n +Cache-Control must-revalidate\n }"
	})
	w.app.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Cache-Control", "max-age=60") })
	b := w.signedIn()
	a := b.navigate(w.Site + "/page")
	if got := strings.Join(a.Header.Values("Cache-Control"), ", "); !strings.Contains(got, "private") {
		t.Errorf("Cache-Control is %q", got)
	}
	equal(t, "warnings", strings.Count(w.log.text(t), "has replaced a header field"), 0)
}
