package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestQuickstart goes through the whole of it over HTTP; test/browser does the
// same with a real browser.
func TestQuickstart(t *testing.T) {
	temporary := setUp(t)
	site, ended := start(t)
	v := newVisitor(t)

	page, _ := v.visit(site+"/", nil)
	contains(t, "the home page, which is public", page, `href="/account"`, "<title>Payroll 2004</title>")
	if strings.Contains(page, "Sign out") {
		t.Errorf("the home page, which knows no session, offers to sign out: %s", page)
	}
	for _, path := range []string{"/account", "/account/", "/forgotten"} {
		if page, banks := v.visit(site+path, nil); !strings.HasPrefix(banks, "/truelayer/banks") {
			t.Errorf("%s is public: %s", path, page)
		}
	}

	_, banks := v.visit(site+"/account", nil)
	page, _ = v.visit(site+banks, nil)
	contains(t, "the page with the banks", page, "Choose your bank", `href="/truelayer/login?provider=mock&amp;return=%2Faccount"`)
	_, link := v.visit(site+"/truelayer/login?provider=mock&return=/account", nil)
	callback, err := simulator.Approve(t.Context(), nil, link)
	if err != nil {
		t.Fatal(err)
	}
	if _, back := v.visit(callback, nil); back != "/account" {
		t.Fatalf("the callback leads to %q", back)
	}
	page, _ = v.visit(site+"/account", nil)
	contains(t, "the account page", page, "Bearer eyJ", "<title>My account – Payroll 2004</title>")
	for name, want := range map[string]string{"John Doe": "<strong>Verified</strong>", "Somebody Else": "<strong>Not verified</strong>"} {
		page, _ := v.visit(site+"/account", url.Values{"name": {name}})
		contains(t, name, page, want, "<title>Name check – Payroll 2004</title>")
	}

	contains(t, "the account page", page, `<form method="post" action="/truelayer/logout">`)
	asked, _ := v.visit(site+"/truelayer/name?return=/account", nil)
	_, rest, _ := strings.Cut(asked, `name="token" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	if _, back := v.visit(site+"/truelayer/name?return=/account", url.Values{"token": {token}, "name": {"John Doe"}}); back != "/account" {
		t.Errorf("the page that asks for a name leads to %q", back)
	}
	page, _ = v.visit(site+"/account", nil)
	contains(t, "the account page", page, "<strong>John Doe</strong>: <code>match</code>")
	v.visit(site+"/truelayer/logout", url.Values{})
	if _, banks := v.visit(site+"/account", nil); !strings.HasPrefix(banks, "/truelayer/banks") {
		t.Errorf("after signing out the account page leads to %q", banks)
	}

	ended()
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestConsent: with -consent visitors consent on the site, and go straight to the bank.
func TestConsent(t *testing.T) {
	setUp(t)
	site, ended := start(t, "-consent")
	defer ended()
	v := newVisitor(t)
	_, address := v.visit(site+"/truelayer/login?provider=mock&return=/account", nil)
	page, _ := v.visit(site+address, nil)
	contains(t, "the page", page, "Connect Mock", "Payroll 2004 gets the data.", "the account to which we pay your salary is yours.")
	_, rest, _ := strings.Cut(page, `name="token" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	_, link := v.visit(site+address, url.Values{"token": {token}, "name": {"John Doe"}, "email": {"john@example.com"}})
	callback, err := simulator.Approve(t.Context(), nil, link)
	if err != nil {
		t.Fatal(link, err)
	}
	if _, back := v.visit(callback, nil); back != "/account" {
		t.Errorf("the callback leads to %q", back)
	}
}

// TestPortsInUse: Caddy would share its port with a second quickstart, and each of
// them would get half of the visitors.
func TestPortsInUse(t *testing.T) {
	setUp(t)
	site, ended := start(t)
	defer ended()
	port := site[strings.LastIndex(site, ":")+1:]
	for flag, args := range map[string][]string{
		"-port":           {"-port", port},
		"-app-port":       {"-port", freePort(t), "-app-port", port, "-simulator-port", "0"},
		"-simulator-port": {"-port", freePort(t), "-app-port", "0", "-simulator-port", port},
	} {
		t.Setenv("TRUELAYER_CLIENT_ID", "") // or a second one would use the sandbox
		err := run(t.Context(), args, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "choose another port with "+flag) || !strings.Contains(err.Error(), "127.0.0.1:"+port) {
			t.Errorf("%s in use: %v", flag, err)
		}
	}
}

// setUp has the environment set back after the test, and returns the directory for
// temporary files.
func setUp(t *testing.T) (temporary string) {
	t.Helper()
	for _, name := range []string{
		"TRUELAYER_CLIENT_ID", "TRUELAYER_CLIENT_SECRET", "XDG_DATA_HOME", "XDG_CONFIG_HOME",
		"QUICKSTART_PORT", "QUICKSTART_APP", "QUICKSTART_AUTH_SERVER", "QUICKSTART_API", "QUICKSTART_DATA", "QUICKSTART_CONSENT",
	} {
		t.Setenv(name, "")
	}
	temporary = t.TempDir()
	t.Setenv("TMPDIR", temporary)
	return temporary
}

func contains(t *testing.T, what, page string, wanted ...string) {
	t.Helper()
	for _, text := range wanted {
		if !strings.Contains(page, text) {
			t.Errorf("%s has no %s: %s", what, text, page)
		}
	}
}

// visitor opens pages and follows no redirect.
type visitor struct {
	t      *testing.T
	client *http.Client
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// visit opens a page, or sends a form to it, and returns the page and where it
// leads.
func (v *visitor) visit(target string, form url.Values) (page, location string) {
	v.t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if form != nil {
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return string(text), resp.Header.Get("Location")
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// start runs the quickstart until ended is called. It says what it does before it
// is ready.
func start(t *testing.T, flags ...string) (site string, ended func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	output, write := io.Pipe()
	go func() {
		done <- run(ctx, append([]string{"-port", freePort(t), "-app-port", "0", "-simulator-port", "0"}, flags...), write)
		_ = write.Close()
	}()
	var said []string
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var ready bool
		if site, ready = strings.CutPrefix(lines.Text(), "ready: "); ready {
			break
		}
		said = append(said, lines.Text())
	}
	if site == "" {
		cancel()
		t.Fatalf("said %q: %v", said, <-done)
	}
	contains(t, "what it says", strings.Join(said, "\n"), "started a simulation of TrueLayer at http://", "started the application at http://", "starting Caddy")
	return site, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
