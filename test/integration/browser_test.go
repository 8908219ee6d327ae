package integration

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// browser has a cookie jar and follows no redirect by itself.
type browser struct {
	t      *testing.T
	client *http.Client
}

func (w *world) browser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{t: w.t, client: &http.Client{
		Transport:     &w.secrets,
		Jar:           jar,
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

func (a *answer) location() string { return a.Header.Get("Location") }

// problem reads a problem+json answer.
func (a *answer) problem(t *testing.T) map[string]any {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("Content-Type is %q, body %q", got, a.body)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *browser) do(method, target string, header ...string) *answer {
	b.t.Helper()
	a, err := b.try(b.t.Context(), method, target, header...)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *browser) try(ctx context.Context, method, target string, header ...string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	for field := range slices.Chunk(header, 2) {
		req.Header.Add(field[0], field[1])
	}
	resp, err := b.client.Do(req)
	for range 3 { // as browsers do: a reload closed the connection, or the listener that had not accepted it yet
		if method != http.MethodGet || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			break
		}
		resp, err = b.client.Do(req)
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{resp, string(body)}, err
}

// navigate opens a page as a person does.
func (b *browser) navigate(target string) *answer {
	b.t.Helper()
	return b.do(http.MethodGet, target, asNavigation...)
}

var asNavigation = []string{
	"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document",
	"Accept", "text/html,application/xhtml+xml,*/*;q=0.8",
}

// fetch asks as a script does.
func (b *browser) fetch(target string) *answer {
	b.t.Helper()
	return b.do(http.MethodGet, target, asFetch...)
}

var asFetch = []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*"}

// cookies is the browser's Cookie field.
func (b *browser) cookies(site string) string {
	u, _ := url.Parse(site)
	var pairs []string
	for _, c := range b.client.Jar.Cookies(u) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// login opens target, connects a bank, and returns the callback's answer.
func (w *world) login(b *browser, target string) *answer {
	w.t.Helper()
	return b.navigate(w.approve(b, target))
}

// approve opens target, connects a bank, and returns the callback's URL.
func (w *world) approve(b *browser, target string) string {
	w.t.Helper()
	sent := b.navigate(target)
	if sent.StatusCode != http.StatusSeeOther || !strings.HasPrefix(sent.location(), w.AuthServer+"/?") {
		w.t.Fatalf("%s: not sent to the bank: %d %s %s", target, sent.StatusCode, sent.location(), sent.body)
	}
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		w.t.Fatal(err)
	}
	return callback
}

// signedIn returns a browser with a session.
func (w *world) signedIn() *browser {
	w.t.Helper()
	b := w.browser()
	if a := w.login(b, w.Site+"/"); a.StatusCode != http.StatusSeeOther || a.location() != "/" {
		w.t.Fatalf("login: %d %s %s", a.StatusCode, a.location(), a.body)
	}
	return b
}

// leaveDuringTokenRequest opens target and closes the tab while the token
// endpoint, which that made be asked, has not answered. It answers when the
// function that is returned is called.
func (w *world) leaveDuringTokenRequest(b *browser, target string) (answer func()) {
	w.t.Helper()
	hold := make(chan struct{})
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Hold: hold})
	before := w.sim.Calls(simulator.Token)
	ctx, closeTab := context.WithCancel(w.t.Context())
	gone := make(chan error)
	go func() {
		_, err := b.try(ctx, http.MethodGet, target, asNavigation...)
		gone <- err
	}()
	waitUntil(w.t, "the token request", func() bool { return w.sim.Calls(simulator.Token) > before })
	closeTab()
	if err := <-gone; err == nil {
		w.t.Fatal("the tab did not close")
	}
	return func() { close(hold) }
}

func query(t *testing.T, target string) url.Values {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
