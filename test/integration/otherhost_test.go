package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestLoginOnAnotherHost: who opens a page on another host of the site, such as
// www, is sent to the redirect URI's host first, and lands there with a session.
// The cookie of a login that began elsewhere would not come back.
func TestLoginOnAnotherHost(t *testing.T) {
	w := start(t, everyHost, nil)
	b := w.browser()
	other := fmt.Sprintf("http://127.0.0.1:%d", w.Port)
	sent := b.navigate(other + "/page?x=y")
	equal(t, "status", sent.StatusCode, http.StatusSeeOther)
	equal(t, "first", sent.location(), w.Site+"/truelayer/login?moved=1&return="+url.QueryEscape("/page?x=y"))
	equal(t, "the login URL there", b.navigate(other+"/truelayer/login?return="+url.QueryEscape("/page?x=y")).location(), sent.location())
	equal(t, "without a return target", b.navigate(other+"/truelayer/login").location(), w.Site+"/truelayer/login?moved=1")
	equal(t, "cookies there", len(sent.Header.Values("Set-Cookie")), 0)
	equal(t, "back from the bank", w.login(b, sent.location()).location(), "/page?x=y")
	equal(t, "then", b.navigate(w.Site+"/page?x=y").StatusCode, http.StatusOK)
	// and on the other host again: no second visit to the bank
	again := b.navigate(other + "/page?x=y")
	equal(t, "again", b.navigate(again.location()).location(), "/page?x=y")
	equal(t, "logins", w.sim.CallsGrant("authorization_code"), 1)
	if log := w.log.text(t); !strings.Contains(log, `"host":"127.0.0.1","redirect_host":"localhost"`) {
		t.Error("the log does not name both hosts")
	}
}

// TestHostChangedInFront: a proxy in front that changes the host costs one more
// redirect and no loop. Ports and case make no other host.
func TestHostChangedInFront(t *testing.T) {
	w := start(t, everyHost, nil)
	for _, host := range []string{"backend.internal", "backend:8080", "[::1]", "[::1]:8080", "10.0.0.1"} {
		ask := func(target string) *answer {
			return w.exchange("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + rawNavigation + "\r\n")
		}
		sent := ask("/page")
		equal(t, host+": first", sent.location(), w.Site+"/truelayer/login?moved=1&return=%2Fpage")
		equal(t, host+": the login URL", ask("/truelayer/login?return=/page").location(), sent.location())
		if bank := ask(strings.TrimPrefix(sent.location(), w.Site)).location(); !strings.HasPrefix(bank, w.AuthServer) {
			t.Errorf("%s: then to %s", host, bank)
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:80", "localhost:1", fmt.Sprintf("localhost:%d", w.Port)} {
		a := w.exchange("GET /page HTTP/1.1\r\nHost: " + host + "\r\n" + rawNavigation + "\r\n")
		if !strings.HasPrefix(a.location(), w.AuthServer) {
			t.Errorf("%s: sent to %s", host, a.location())
		}
	}
}

// TestDefaultPort: a redirect URI with its scheme's own port, or in capitals, is
// sent as it is written, and the site's own pages are not foreign for it.
func TestDefaultPort(t *testing.T) {
	for _, redirectURI := range []string{"https://app.example.com/truelayer", "https://app.example.com:443/truelayer", "HTTPS://App.Example.com:443/truelayer"} {
		t.Run(redirectURI, func(t *testing.T) {
			site := strings.Replace(plain, "http://localhost:{{.Port}} {", "http://app.example.com:{{.Port}} {", 1)
			w := start(t, strings.ReplaceAll(site, "{{.Site}}/truelayer", redirectURI), nil)
			const host = "Host: app.example.com\r\n"
			w.app.answer(func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					switchProtocols(rw, r)
				}
			})
			sent := w.exchange("GET /page HTTP/1.1\r\n" + host + rawNavigation + "\r\n")
			equal(t, "redirect URI in the auth link", query(t, sent.location()).Get("redirect_uri"), redirectURI)
			callback, err := w.sim.Grant(sent.location())
			if err != nil {
				t.Fatal(err)
			}
			login, _, _ := strings.Cut(sent.Header.Get("Set-Cookie"), ";")
			back := w.exchange("GET /truelayer?" + strings.SplitN(callback, "?", 2)[1] + " HTTP/1.1\r\n" + host + rawNavigation + "Cookie: " + login + "\r\n\r\n")
			equal(t, "back", back.location(), "/page") // the exchange has repeated the redirect URI
			var cookies []string
			for _, c := range back.Cookies() {
				cookies = append(cookies, c.Name+"="+c.Value)
			}
			cookie := "Cookie: " + strings.Join(cookies, "; ") + "\r\n"
			for origin, foreign := range map[string]bool{
				"https://app.example.com": false, "https://app.example.com:443": true, "https://App.Example.com": true,
				"http://app.example.com": true, "https://app.example.com:444": true, "https://evil.example.com": true,
			} {
				for what, test := range map[string]struct {
					request string
					ok      int
				}{
					"a POST":      {"POST /page HTTP/1.1\r\nContent-Length: 0\r\n", http.StatusOK},
					"a WebSocket": {"GET /page HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", http.StatusSwitchingProtocols},
					"a logout":    {"POST /truelayer/logout HTTP/1.1\r\nContent-Length: 0\r\nX-Keep: session\r\n", http.StatusSeeOther},
				} {
					if what == "a logout" && !foreign {
						continue // it would end the session
					}
					want := test.ok
					if foreign {
						want = http.StatusForbidden
					}
					equal(t, what+" from "+origin, w.exchange(test.request+host+cookie+"Origin: "+origin+"\r\n\r\n").StatusCode, want)
				}
			}
			problem := w.exchange("GET /page HTTP/1.1\r\n" + host + "\r\n")
			equal(t, "login URL", problem.problem(t)["login_url"], any("https://app.example.com/truelayer/login?return=%2Fpage"))
			equal(t, "logout from the site", w.exchange("POST /truelayer/logout HTTP/1.1\r\nContent-Length: 0\r\n"+host+cookie+"Origin: https://app.example.com\r\n\r\n").StatusCode, http.StatusSeeOther)
			w.awaitUpgrades(1)
		})
	}
}
