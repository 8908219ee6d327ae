package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser is a Chromium of its own: fresh, and gone after the test.
type browser struct {
	t    *testing.T
	ctx  context.Context
	tabs int
}

// startBrowser starts Chromium with further options.
func startBrowser(t *testing.T, options ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	return startBrowserIn(t, t.TempDir(), options...)
}

// startBrowserIn starts Chromium with a home directory, which may hold a
// profile already.
func startBrowserIn(t *testing.T, home string, options ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: install Debian's package chromium")
	}
	// of its own because the path of a socket in it must stay below 108 bytes
	temp, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	// chromedp's own defaults switch off more than a visitor's browser would
	options = append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile(home)),
		chromedp.NoInheritEnv,
		chromedp.Env("PATH="+os.Getenv("PATH"), "HOME="+home, "TMPDIR="+temp),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("password-store", "basic"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("allow-pre-commit-input", true), // a click before the first paint would be dropped
	}, options...)
	// not the test's own context, which ends before the cleanups run
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		last, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_ = chromedp.Cancel(last)
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return &browser{t: t, ctx: ctx}
}

func profile(home string) string { return home + "/profile" }

// tab is a tab of the browser and the person in front of it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	pages   []request // for pages, redirects included
	headers map[network.RequestID][]network.Headers
}

// request is one that the tab sent. A redirect keeps the id of the request
// that it answers.
type request struct {
	id      network.RequestID
	address string
}

func (b *browser) tab() *tab {
	b.t.Helper()
	b.tabs++
	picture := fmt.Sprintf("failures/%s-%d.png", strings.ReplaceAll(b.t.Name(), "/", "-"), b.tabs)
	tab := &tab{t: b.t, headers: make(map[network.RequestID][]network.Headers)}
	ctx, closeTab := chromedp.NewContext(b.ctx, chromedp.WithListener(tab.listen))
	tab.ctx = ctx
	b.t.Cleanup(func() {
		if b.t.Failed() {
			tab.screenshot(picture)
		}
		closeTab()
	})
	// without a deadline, which would be the tab's
	if err := chromedp.Do(ctx, call(network.Enable, network.EnableParams{})); err != nil {
		b.t.Fatalf("opening a tab: %v", err)
	}
	return tab
}

// call is a command of the protocol that answers nothing of interest.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

// listen takes note of what the tab sends. A request's header, which is where
// the cookies are, is reported before or after its address.
func (tab *tab) listen(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		if event.Type == network.ResourceTypeDocument {
			tab.pages = append(tab.pages, request{event.RequestID, event.Request.URL})
		}
	case *network.EventRequestWillBeSentExtraInfo:
		tab.headers[event.RequestID] = append(tab.headers[event.RequestID], event.Headers)
	}
}

// asked returns the addresses of pages asked for that begin with the prefix.
func (tab *tab) asked(prefix string) (addresses []string) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for _, page := range tab.pages {
		if strings.HasPrefix(page.address, prefix) {
			addresses = append(addresses, page.address)
		}
	}
	return addresses
}

// sent returns the header of the first request for a page.
func (tab *tab) sent(address string) (header network.Headers) {
	tab.t.Helper()
	tab.until("the header for "+address+" is known", func() bool {
		tab.mu.Lock()
		defer tab.mu.Unlock()
		nth := make(map[network.RequestID]int)
		for _, page := range tab.pages {
			if headers, n := tab.headers[page.id], nth[page.id]; page.address == address && n < len(headers) {
				header = headers[n]
				return true
			}
			nth[page.id]++
		}
		return false
	})
	return header
}

func (tab *tab) screenshot(path string) {
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll("failures", 0o750)
	}
	if err == nil {
		err = os.WriteFile(path, picture, 0o644) //nolint:gosec // a picture of a failed test
	}
	if err != nil {
		tab.t.Logf("no screenshot: %v", err)
		return
	}
	tab.t.Logf("screenshot: %s", path)
}

// get runs an action in the tab and returns its result. The words say what it
// does, should it fail.
func get[T any](tab *tab, words string, action chromedp.Action[T]) T {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		tab.fail(words, err)
	}
	return result
}

func (tab *tab) fail(words string, err error) {
	tab.t.Helper()
	tab.t.Fatalf("%s: %v\nthe tab asked for\n%s", words, err, strings.Join(tab.asked(""), "\n"))
}
