package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"syscall"
)

// Browser has a cookie jar and follows no redirect by itself. All nodes and
// the balancer are one host to it, as cookies do not tell ports apart.
type Browser struct {
	world  *World
	client *http.Client
}

// Browser returns a browser without cookies.
func (w *World) Browser() *Browser {
	w.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.Fatalf("%v", err)
	}
	return &Browser{world: w, client: &http.Client{
		Jar: jar, Transport: w.transport, Timeout: Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Answer is a response that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Token  Token  // what the application was sent
	Reason string // why the module answered in its place
}

// Location is where a redirect leads.
func (a *Answer) Location() string { return a.Header.Get("Location") }

// String is for messages about an answer that should have been another.
func (a *Answer) String() string {
	return fmt.Sprintf("%d %s%s, Set-Cookie %q", a.Status, a.Reason, a.Location(), a.Header["Set-Cookie"])
}

func (b *Browser) do(ctx context.Context, method, target string, header http.Header) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	resp, err := b.client.Do(req)
	if isClosedByReload(err) && method == http.MethodGet && ctx.Err() == nil {
		resp, err = b.client.Do(req) // as browsers do
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	switch {
	case resp.StatusCode == http.StatusOK:
		_ = json.Unmarshal(body, &a.Token) // anything but the application's answer leaves it empty
	case resp.Header.Get("Content-Type") == "application/problem+json":
		var problem struct{ Reason string }
		err = json.Unmarshal(body, &problem)
		a.Reason = problem.Reason
	}
	return a, err
}

// isClosedByReload reports whether a reload has closed a connection on which nothing was answered:
// one that was idle, or a new one that the old listener had not accepted, which the system resets.
func isClosedByReload(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// Fetch asks as a script does, which is told what is wrong in JSON.
func (b *Browser) Fetch(ctx context.Context, target string) (*Answer, error) {
	return b.do(ctx, http.MethodGet, target, http.Header{"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}, "Accept": {"*/*"}})
}

// Navigate opens a page as a person does.
func (b *Browser) Navigate(ctx context.Context, target string) (*Answer, error) {
	return b.do(ctx, http.MethodGet, target, http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Accept": {"text/html"}})
}

// SignOut presses the button that signs out.
func (b *Browser) SignOut(ctx context.Context, site string) (*Answer, error) {
	return b.do(ctx, http.MethodPost, site+"/truelayer/logout", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Accept": {"text/html"}})
}

// Approve begins a login at a site, connects a bank and returns the callback's
// path and query.
func (b *Browser) Approve(ctx context.Context, site string) (callback string, err error) {
	sent, err := b.Navigate(ctx, site+"/truelayer/login")
	if err != nil {
		return "", err
	}
	if sent.Status != http.StatusSeeOther || !strings.HasPrefix(sent.Location(), b.world.Auth.server.URL+"/?") {
		return "", fmt.Errorf("not sent to the bank: %v", sent)
	}
	back, err := b.world.Sim.Grant(sent.Location())
	if err != nil {
		return "", err
	}
	u, err := url.Parse(back)
	if err != nil {
		return "", err
	}
	return u.RequestURI(), nil
}

// SignIn begins a login at one site and ends it at another.
func (b *Browser) SignIn(ctx context.Context, begin, end string) error {
	callback, err := b.Approve(ctx, begin)
	if err != nil {
		return err
	}
	arrived, err := b.Navigate(ctx, end+callback)
	if err != nil {
		return err
	}
	if arrived.Status != http.StatusSeeOther || !b.HasSession() {
		return fmt.Errorf("not signed in: %v", arrived)
	}
	return nil
}

// HasSession reports whether the browser was given a session's cookie.
func (b *Browser) HasSession() bool {
	site, err := url.Parse(b.world.Front)
	if err != nil {
		return false
	}
	for _, cookie := range b.client.Jar.Cookies(site) {
		if !strings.Contains(cookie.Name, "-login-") {
			return true
		}
	}
	return false
}

// Stolen is another browser with the same cookies. It keeps them when the
// first one is told to forget them.
func (b *Browser) Stolen() *Browser {
	other := b.world.Browser()
	if site, err := url.Parse(b.world.Front); err == nil {
		other.client.Jar.SetCookies(site, b.client.Jar.Cookies(site))
	}
	return other
}
