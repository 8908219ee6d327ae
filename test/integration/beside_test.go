package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestStraightToTheAPI: the Verification API itself stands behind the module.
func TestStraightToTheAPI(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.After = `
	handle_path /bank/* {
		reverse_proxy {{.AuthServer}} {
			header_up X-PSU-IP {client_ip}
		}
	}`
		w.After = strings.ReplaceAll(w.After, "{{.AuthServer}}", w.AuthServer)
	})
	b := w.signedIn()
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.Site+"/bank/verification/v1/verify", strings.NewReader(`{"name":"John Doe"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var result struct{ Verified bool }
	if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
		t.Fatal(err)
	}
	equal(t, "status", resp.StatusCode, http.StatusOK)
	equal(t, "verified", result.Verified, true)
}

// TestForwardAuthBeside: an auth gateway keeps what it checks.
func TestForwardAuthBeside(t *testing.T) {
	var seen []string
	gateway := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if r.Header.Get("Authorization") != "Basic dXNlcjpwYXNz" {
			rw.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(gateway.Close)
	w := start(t, plain, func(w *world) {
		w.After = "forward_auth " + strings.TrimPrefix(gateway.URL, "http://") + " {\n uri /auth\n }"
	})
	b := w.browser()
	credentials := []string{"Authorization", "Basic dXNlcjpwYXNz"}
	equal(t, "without credentials", b.navigate(w.Site+"/").StatusCode, http.StatusForbidden)
	sent := b.do("GET", w.Site+"/", append(credentials, asNavigation...)...)
	callback, err := w.sim.Grant(sent.location())
	if err != nil {
		t.Fatal(err)
	}
	b.do("GET", callback, append(credentials, asNavigation...)...)
	equal(t, "with both", b.do("GET", w.Site+"/", credentials...).StatusCode, http.StatusOK)
	_, got := w.app.requests()
	if !strings.HasPrefix(got.Header.Get("Authorization"), "Bearer eyJ") {
		t.Errorf("Authorization is %q", got.Header.Get("Authorization"))
	}
	for _, authorization := range seen {
		if strings.HasPrefix(authorization, "Bearer") {
			t.Error("the gateway was given the access token")
		}
	}
}

// TestTemplatesInclude: what a page includes is asked for with the page's own
// header fields, on a path that is not protected.
func TestTemplatesInclude(t *testing.T) {
	for _, field := range []string{"Authorization", "X-Bank-Token"} {
		t.Run(field, func(t *testing.T) {
			included := make(chan string, 1)
			menu := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { included <- r.Header.Get(field) }))
			t.Cleanup(menu.Close)
			w := start(t, plain, func(w *world) {
				w.Before, w.Matcher = "@private not path /menu", "@private"
				if field != "Authorization" {
					w.Options = "token_header " + field
				}
				w.After = "templates\n handle /menu {\n reverse_proxy " + strings.TrimPrefix(menu.URL, "http://") + "\n }"
			})
			w.app.answer(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(rw, `%.20s {{httpInclude "/menu"}}`, r.Header.Get(field)) //nolint:gosec // what the test looks at
			})
			if got := w.signedIn().navigate(w.Site + "/").body; !strings.Contains(got, "eyJ") {
				t.Errorf("the page is %q", got)
			}
			equal(t, "the token of what it includes", <-included, "")
		})
	}
}

func TestBasicAuthBeside(t *testing.T) {
	w := start(t, plain, func(w *world) {
		// the password is "pass"
		w.After = "basic_auth {\n user $2a$04$QkRxX1v8CgoVlzkI2T0bReyLE0ZziDHJg0zR2dp1GfbjjRQ6QxsVS\n }"
	})
	equal(t, "without credentials", w.browser().navigate(w.Site+"/").StatusCode, http.StatusUnauthorized)
	equal(t, "with them", w.browser().do("GET", w.Site+"/", append([]string{"Authorization", "Basic dXNlcjpwYXNz"}, asNavigation...)...).StatusCode, http.StatusSeeOther)
}

func TestFastCGI(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		_ = fcgi.Serve(l, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(rw, "%.10s cookies=%q", r.Header.Get("Authorization"), r.Header.Get("Cookie")) //nolint:gosec // what the test looks at
		}))
	}()
	w := start(t, strings.Replace(plain, "reverse_proxy {{.App}}", "root * {{.Data}}\nphp_fastcgi "+l.Addr().String()+" {\n index off\n }", 1), nil)
	b := w.signedIn()
	equal(t, "through FastCGI", b.navigate(w.Site+"/index.php").body, `Bearer eyJ cookies=""`)
}

// h2c: an upstream that speaks HTTP/2 without TLS.
func TestH2C(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s %.10s", r.Proto, r.Header.Get("Authorization")) //nolint:gosec // what the test looks at
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	w := start(t, strings.Replace(plain, "reverse_proxy {{.App}}", "reverse_proxy h2c://"+strings.TrimPrefix(server.URL, "http://"), 1), nil)
	equal(t, "through h2c", w.signedIn().navigate(w.Site+"/").body, "HTTP/2.0 Bearer eyJ")
}

// TestPlaceholdersOfTwoBlocks: they are those of the last block that a request
// went through.
func TestPlaceholdersOfTwoBlocks(t *testing.T) {
	w := start(t, strings.Replace(plain, "reverse_proxy {{.App}}", `truelayer {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/second
		auth_server   {{.AuthServer}}
		scopes        accounts
		token_header  X-Second
	}
	reverse_proxy {{.App}} {
		header_up X-Scopes {http.truelayer.scopes}
	}`, 1), nil)
	b := w.signedIn()
	w.login(b, w.Site+"/")
	equal(t, "with both sessions", b.navigate(w.Site+"/").StatusCode, http.StatusOK)
	_, r := w.app.requests()
	equal(t, "scopes", r.Header.Get("X-Scopes"), "accounts")
}

const twoBlocks = `{
	admin off
	persist_config off
	grace_period 1s
	storage file_system {{.Data}}
}
http://localhost:{{.Port}} {
	truelayer /one* {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/truelayer
		auth_server   {{.AuthServer}}
	}
	truelayer /two* {
		client_id     {{.ClientID}}
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri  {{.Site}}/second
		auth_server   {{.AuthServer}}
		scopes        info accounts
		token_header  X-Second
	}
	reverse_proxy {{.App}}
}
`

// TestTwoBlocks: two connections of one visitor, side by side.
func TestTwoBlocks(t *testing.T) {
	for name, site := range map[string]string{
		"":                   twoBlocks,
		"with a cookie_name": strings.Replace(twoBlocks, "token_header  X-Second", "token_header  X-Second\n\t\tcookie_name   bank", 1),
		"with two cookie_names": strings.NewReplacer(
			"token_header  X-Second", "token_header  X-Second\n\t\tcookie_name   bank", "{{.Site}}/truelayer\n", "{{.Site}}/truelayer\n\t\tcookie_name   first\n",
		).Replace(twoBlocks),
	} {
		t.Run(name, func(t *testing.T) { testTwoBlocks(t, site) })
	}
}

func testTwoBlocks(t *testing.T, site string) {
	t.Helper()
	w := start(t, site, nil)
	b := w.signedInAt("/one")
	equal(t, "the other block", b.navigate(w.Site+"/two").StatusCode, http.StatusSeeOther)
	equal(t, "its login", w.login(b, w.Site+"/two").location(), "/two")
	for path, want := range map[string][2]bool{"/one": {true, false}, "/two": {false, true}, "/public": {false, false}} {
		equal(t, path, b.do("GET", w.Site+path, "X-Second", "forged").StatusCode, http.StatusOK)
		_, got := w.app.requests()
		equal(t, path+": Authorization", got.Header.Get("Authorization") != "", want[0])
		equal(t, path+": X-Second", strings.HasPrefix(got.Header.Get("X-Second"), "eyJ"), want[1])
		equal(t, path+": cookies", got.Header.Get("Cookie"), "")
	}
	// neither block takes the other's callback
	callback := w.approve(w.browser(), w.Site+"/one")
	equal(t, "mixed up", b.navigate(strings.Replace(callback, "/truelayer?", "/second?", 1)).location(), "/")
	equal(t, "exchanges", w.sim.CallsGrant("authorization_code"), 2)
}

// TestBothBlocksProtect: one request, two tokens, each in its own field.
func TestBothBlocksProtect(t *testing.T) {
	w := start(t, strings.Replace(twoBlocks, "truelayer /two*", "truelayer /one*", 1), nil)
	b := w.browser()
	equal(t, "first login", w.login(b, w.Site+"/one").location(), "/one")
	equal(t, "second login", w.login(b, w.Site+"/one").location(), "/one")
	equal(t, "page", b.navigate(w.Site+"/one").StatusCode, http.StatusOK)
	_, got := w.app.requests()
	first, found := strings.CutPrefix(got.Header.Get("Authorization"), "Bearer ")
	second := got.Header.Get("X-Second")
	if !found || !strings.HasPrefix(first, "eyJ") || !strings.HasPrefix(second, "eyJ") || first == second {
		t.Errorf("Authorization %.20q, X-Second %.20q", first, second)
	}
}

// TestOneSessionForTwoBlocks: blocks that differ in their matcher only are one.
func TestOneSessionForTwoBlocks(t *testing.T) {
	same := strings.NewReplacer("/second", "/truelayer", "\t\tscopes        info accounts\n\t\ttoken_header  X-Second\n", "").Replace(twoBlocks)
	w := start(t, same, nil)
	b := w.signedInAt("/one")
	equal(t, "the other block", b.navigate(w.Site+"/two").StatusCode, http.StatusOK)
}

// TestSubpath: everything below one path, the redirect URI with it.
func TestSubpath(t *testing.T) {
	w := start(t, strings.NewReplacer("{{.Site}}/truelayer", "{{.Site}}/bank/truelayer", "truelayer {{.Matcher}}", "handle_path /bank/* {\n truelayer", "\t{{.After}}\n", "reverse_proxy {{.App}}\n}\n").Replace(plain), nil)
	b := w.browser()
	equal(t, "login", w.login(b, w.Site+"/bank/page").location(), "/bank/page")
	equal(t, "page", b.navigate(w.Site+"/bank/page").StatusCode, http.StatusOK)
	_, got := w.app.requests()
	equal(t, "path at the application", got.URL.Path, "/page")
	equal(t, "login URL", b.navigate(w.Site+"/bank/truelayer/login?return=/bank/x").location(), "/bank/x")
}

// TestReload: sessions and logins in flight outlive a reload, and one that fails.
func TestReload(t *testing.T) {
	w := start(t, plain, nil)
	b := w.signedIn()
	under := w.browser()
	callback := w.approve(under, w.Site+"/page")
	w.Options = "verify_access_token http://not-loopback.example/jwks"
	if err := w.load(plain); err == nil {
		t.Fatal("a broken configuration was loaded")
	}
	w.Options = "store unknown"
	if err := w.load(plain); err == nil {
		t.Fatal("a broken configuration was loaded")
	}
	equal(t, "after a failed reload", b.navigate(w.Site+"/").StatusCode, http.StatusOK)
	w.Options = "idle_timeout 2h"
	if err := w.load(plain); err != nil {
		t.Fatal(err)
	}
	equal(t, "after a reload", b.navigate(w.Site+"/").StatusCode, http.StatusOK)
	equal(t, "a login in flight", under.navigate(callback).location(), "/page")
}
