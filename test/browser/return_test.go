package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestReturnTargetsInChromium: whatever is asked for, a real browser stays on
// the site. What is asked for stands in the integration tests' testdata.
func TestReturnTargetsInChromium(t *testing.T) {
	elsewhere := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!DOCTYPE html><h1>Elsewhere</h1>")
	}))
	s := startSite(t, nil)
	tab := startBrowser(t, chromedp.Flag("host-resolver-rules", "MAP *.example "+strings.TrimPrefix(elsewhere, "http://"))).tab()
	tab.open("http://evil.example/") // could be reached
	tab.sees("Elsewhere")
	tab.connectsAtOnce(s, s.url+"/account")
	tab.sees("My account")

	payloads := returnPayloads(t)
	tab.resolves(s, payloads)
	for _, p := range payloads {
		if p.mark != "*" {
			continue
		}
		tab.open(s.loginURL(p))
		tab.isOn(s, p, "signed in")
		get(tab, "losing all cookies", call(network.ClearBrowserCookies, cdp.Empty{}))
		tab.connectsAtOnce(s, s.loginURL(p))
		tab.isOn(s, p, "after a login")
	}
}

// resolves has the browser resolve where the module sends it, for all payloads.
func (tab *tab) resolves(s *site, payloads []returnPayload) {
	tab.t.Helper()
	var session []string
	for name, cookie := range tab.cookies(s.url) {
		session = append(session, name+"="+cookie.Value)
	}
	var questions [][2]string
	for _, p := range payloads {
		questions = append(questions, [2]string{p.text, s.location(tab.t, p, strings.Join(session, "; "))})
	}
	list, err := json.Marshal(questions)
	if err != nil {
		tab.t.Fatal(err)
	}
	type resolved struct{ Unchecked, Origin, Path string }
	answers := get(tab, "resolving", chromedp.Evaluate[[]resolved](fmt.Sprintf(`%s.map(([payload, location]) => {
		const url = (text) => { try { return new URL(text, %q) } catch { return {origin: "none", pathname: ""} } };
		const sent = url(location);
		return {Unchecked: url(payload).origin, Origin: sent.origin, Path: sent.pathname};
	})`, list, s.url+"/truelayer/login")))
	leaving := 0
	for i, answer := range answers {
		p, location := payloads[i], questions[i][1]
		if answer.Origin != s.url {
			tab.t.Errorf("%.100q: %.100q leaves for %q", p.text, location, answer.Origin)
		}
		if strings.HasPrefix(answer.Path, "//") || isEndpoint(answer.Path) {
			tab.t.Errorf("%.100q: %.100q has the path %.100q", p.text, location, answer.Path)
		}
		if p.mark == "=" && location != p.text {
			tab.t.Errorf("%.100q: came out as %.100q", p.text, location)
		}
		if answer.Unchecked != s.url && answer.Unchecked != "none" {
			leaving++
			if p.mark == "=" {
				tab.t.Errorf("%.100q is not harmless: it leads to %q", p.text, answer.Unchecked)
			}
		}
	}
	// or the list would not be what it is meant to be
	if leaving < 300 {
		tab.t.Errorf("only %d of %d payloads would lead this browser away if nothing were checked", leaving, len(payloads))
	}
}

// location is where the module sends a browser that has a session.
func (s *site) location(t *testing.T, p returnPayload, session string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.loginURL(p), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	req.Header.Set("Cookie", session)
	answer, err := http.DefaultTransport.RoundTrip(req)
	if err != nil { // for one, a Location that breaks the answer in two
		t.Errorf("%.100q: %v", p.text, err)
		return ""
	}
	_ = answer.Body.Close()
	location := answer.Header.Get("Location")
	if answer.StatusCode != http.StatusSeeOther || strings.HasPrefix(location, s.bank) {
		t.Errorf("%.100q: status %d, Location %.100q", p.text, answer.StatusCode, location)
	}
	return location
}

func (s *site) loginURL(p returnPayload) string {
	return s.url + "/truelayer/login?return=" + url.QueryEscape(p.text)
}

// connectsAtOnce opens an address that leads to the bank, and comes back from
// there without a look at its pages.
func (tab *tab) connectsAtOnce(s *site, address string) {
	tab.t.Helper()
	before := len(tab.asked(s.bank + "/?"))
	tab.open(address)
	links := tab.asked(s.bank + "/?")[before:]
	if len(links) != 1 {
		tab.t.Fatalf("%s led to the bank %d times", address, len(links))
	}
	callback, err := s.sim.Grant(links[0])
	if err != nil {
		tab.t.Fatal(err)
	}
	tab.open(callback)
}

// isOn checks that the tab is on the site, at none of the module's addresses.
func (tab *tab) isOn(s *site, p returnPayload, when string) {
	tab.t.Helper()
	at := await[string](tab, "a page is there", "location.href")
	path, found := strings.CutPrefix(at, s.url)
	if path, _, _ = strings.Cut(path, "?"); !found || !strings.HasPrefix(path, "/") || isEndpoint(path) {
		tab.t.Errorf("%.100q, %s: the browser is at %.100s", p.text, when, at)
	}
}

// isEndpoint tells the module's own paths as Caddy reads them.
func isEndpoint(path string) bool {
	path, err := url.PathUnescape(path)
	return err != nil || path == "/truelayer" || strings.HasPrefix(path, "/truelayer/")
}

// returnPayload is a line of the integration tests' return-targets.txt.
type returnPayload struct{ mark, text string }

func returnPayloads(t *testing.T) (payloads []returnPayload) {
	t.Helper()
	file, err := os.ReadFile("../integration/testdata/return-targets.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		mark, quoted, _ := strings.Cut(line, " ")
		text, err := strconv.Unquote(`"` + quoted + `"`)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		payloads = append(payloads, returnPayload{mark, text})
	}
	return payloads
}
