package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// exchange sends bytes over a connection of their own and reads the answer.
func (w *world) exchange(request string) *answer {
	w.t.Helper()
	a, err := w.tryExchange(request)
	if err != nil {
		w.t.Fatalf("%.200q: %v", request, err)
	}
	return a
}

func (w *world) tryExchange(request string) (*answer, error) {
	conn, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", w.Port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	method, _, _ := strings.Cut(request, " ")
	a, err := readAnswer(bufio.NewReader(conn), method)
	if err != nil {
		return nil, err
	}
	w.secrets.learn(a.Response)
	return a, nil
}

// refuses sends bytes that net/http does not take for a request. Where it hangs
// up before it has read all of them, the answer may be lost on its way.
func (w *world) refuses(what, request string) {
	w.t.Helper()
	a, err := w.tryExchange(request)
	if err == nil && (a.StatusCode < 400 || a.StatusCode == http.StatusUnauthorized || (a.StatusCode >= 500 && a.StatusCode != http.StatusHTTPVersionNotSupported)) {
		w.t.Errorf("%s: status %d", what, a.StatusCode)
	}
}

func readAnswer(r *bufio.Reader, method string) (*answer, error) {
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return &answer{resp, ""}, nil // what follows is no body
	}
	body, err := io.ReadAll(resp.Body)
	return &answer{resp, string(body)}, err
}

// arrivals is what the application got, with what came behind the bodies.
type arrivals struct {
	mu   sync.Mutex
	seen []arrival
}

type arrival struct {
	method, target, path string
	header, trailer      http.Header
}

// record makes the application remember whole requests, and switch protocols
// where it is asked to.
func (a *application) record() *arrivals {
	var all arrivals
	a.answer(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // trailers are there after it
		all.mu.Lock()
		all.seen = append(all.seen, arrival{r.Method, r.RequestURI, r.URL.Path, r.Header.Clone(), r.Trailer.Clone()})
		all.mu.Unlock()
		if r.Header.Get("Upgrade") != "" {
			switchProtocols(rw, r)
		}
	})
	return &all
}

// take returns what came since the last time.
func (a *arrivals) take() []arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// named are the values of all fields that some applications take for the named
// one: CGI and its heirs know neither case nor what separates words.
func (a *arrival) named(field string) []string {
	fold := func(name string) string {
		return strings.ToLower(strings.NewReplacer("-", "_", ".", "_").Replace(strings.Trim(name, "_.")))
	}
	var values []string
	for _, fields := range []http.Header{a.header, a.trailer} {
		for name, lines := range fields {
			if fold(name) == fold(field) {
				values = append(values, lines...)
			}
		}
	}
	return values
}

// holds reports whether a text is anywhere in the request.
func (a *arrival) holds(text string) bool {
	return strings.Contains(fmt.Sprint(*a), text)
}

// spelling is a way to write a header field that one reader may take for the
// field and another may not. What is refused net/http answers with 400.
type spelling struct {
	lines   string
	refused bool
}

func spellings(field string) map[string]spelling {
	under, dots := strings.ReplaceAll(field, "-", "_"), strings.ReplaceAll(field, "-", ".")
	return map[string]spelling{
		"none":                          {"", false},
		"as it is":                      {field + ": forged\r\n", false},
		"lower case":                    {strings.ToLower(field) + ": forged\r\n", false},
		"upper case":                    {strings.ToUpper(field) + ": forged\r\n", false},
		"twice":                         {field + ": forged\r\n" + field + ": forged\r\n", false},
		"in three cases":                {strings.ToLower(field) + ": forged\r\n" + field + ": forged\r\n" + strings.ToUpper(field) + ": forged\r\n", false},
		"without a value":               {field + ":\r\n", false},
		"without a space":               {field + ":forged\r\n", false},
		"a tab before the value":        {field + ":\tforged\r\n", false},
		"underscores":                   {under + ": forged\r\n", false},
		"an underscore at the end":      {field + "_: forged\r\n", false},
		"an underscore at the start":    {"_" + field + ": forged\r\n", false},
		"dots":                          {dots + ": forged\r\n", false},
		"a dot at the end":              {field + ".: forged\r\n", false},
		"an underscore and a dot":       {under + "_.: forged\r\n", false},
		"a hyphen at the end":           {field + "-: forged\r\n", false},
		"underscores beside":            {under + "_: forged\r\n" + field + ": forged\r\n" + field + ".: forged\r\n", false},
		"a folded value":                {field + ":\r\n forged\r\n", false},
		"a value folded twice":          {field + ": forged\r\n\tagain\r\n too\r\n", false},
		"folded into another field":     {"X-Other: a\r\n " + field + ": forged\r\n", false},
		"behind a bare line feed":       {"X-Other: a\n" + field + ": forged\r\n", false},
		"named in Connection":           {field + ": forged\r\nConnection: " + field + "\r\n", false},
		"named in Connection alone":     {"Connection: " + strings.ToLower(field) + "\r\n", false},
		"named in Connection, in a row": {"Connection: keep-alive ,\t" + strings.ToUpper(field) + "\t, x\r\nConnection: " + field + "," + field + "\r\n", false},
		"for a proxy":                   {"Proxy-Authorization: Bearer forged\r\n", false},
		"for a proxy, named by a cache": {"Proxy-Authorization: forged\r\nProxy-Connection: " + field + "\r\n", false},
		"a space before the colon":      {field + " : forged\r\n", true},
		"a tab before the colon":        {field + "\t: forged\r\n", true},
		"folded into Host":              {" " + field + ": forged\r\n", true},
		"a NUL in the name":             {field + "\x00: forged\r\n", true},
		"behind a bare return":          {"X-Other: a\r" + field + ": forged\r\n", true},
		"a quoted name":                 {`"` + field + `": forged` + "\r\n", true},
		"no name":                       {": forged\r\n" + field + ": forged\r\n", true},
	}
}

// TestTokenHeaderSpellings: the application gets the module's token and no
// other one, however a client spells the field, and never one of the module's
// cookies. What a client puts there is no evidence of anything (CVE-2022-29226
// alias GHSA-h45c-2f94-prxh), also not in the underscores of CVE-2025-64484
// alias GHSA-vjrc-mh2v-45x6, which Caddy drops by GHSA-f59h-q822-g45g.
func TestTokenHeaderSpellings(t *testing.T) {
	for field, options := range map[string]string{"Authorization": "", "X-Bank-Token": "token_header X-Bank-Token"} { //nolint:gosec // a name, no credential
		t.Run(field, func(t *testing.T) {
			w := start(t, plain, func(w *world) {
				w.Matcher, w.Options = "/account*", options
				w.After = `
	handle_errors {
		reverse_proxy ` + w.App + `
	}
	reverse_proxy /account/broken 127.0.0.1:1
	reverse_proxy /public/broken 127.0.0.1:1`
			})
			b := w.signedInAt("/account")
			cookies, got := b.cookies(w.Site), w.app.record()
			b.navigate(w.Site + "/account")
			ours := got.take()[0].header.Get(field)
			if !strings.Contains(ours, "eyJ") {
				t.Fatalf("the token is %q", ours)
			}
			const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
			for name, spelling := range spellings(field) {
				for _, test := range []struct {
					path, more string
					status     int
					want       []string // nil for what the application's own field may hold
				}{
					{"/account", "", 200, []string{ours}},
					{"/account/x", upgrade, 101, []string{ours}},
					{"/account/broken", "", 200, []string{}},
					{"/public", "", 200, nil},
					{"/public", upgrade, 101, nil},
					{"/public/broken", "", 200, nil},
				} {
					what := fmt.Sprintf("%s, %s %.10q", name, test.path, test.more)
					request := "GET " + test.path + " HTTP/1.1\r\nHost: localhost\r\n" + spelling.lines + test.more
					with := request + "Cookie: app=1; " + cookies + "\r\n\r\n"
					if spelling.refused {
						w.refuses(what, with)
						equal(t, what+": requests upstream", len(got.take()), 0)
						continue
					}
					a := w.exchange(with)
					seen := got.take()
					equal(t, what+": status", a.StatusCode, test.status)
					if len(seen) != 1 {
						t.Fatalf("%s: %d requests upstream", what, len(seen))
					}
					if test.want == nil && field != "Authorization" {
						test.want = []string{}
					}
					if values := seen[0].named(field); test.want != nil && !slices.Equal(values, test.want) {
						t.Errorf("%s: the application got %.40q", what, values)
					}
					equal(t, what+": cookies", strings.Join(seen[0].header["Cookie"], "|"), "app=1")

					// without the cookies: nothing, also with a token that is good
					if strings.HasPrefix(test.path, "/account") {
						a := w.exchange(strings.ReplaceAll(request, "forged", ours) + "\r\n")
						equal(t, what+", no session: status", a.StatusCode, http.StatusUnauthorized)
						equal(t, what+", no session: requests upstream", len(got.take()), 0)
					}
				}
			}

			// behind the body, where some applications look as well
			for _, path := range []string{"/account", "/public"} {
				for _, announced := range []string{"", "Trailer: " + field + "\r\n", "Trailer: X-Other\r\n"} {
					w.exchange("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" + announced + "Cookie: " + cookies +
						"\r\n\r\n4\r\nbody\r\n0\r\nX-Other: kept\r\n" + field + ": forged\r\n" + strings.ReplaceAll(field, "-", "_") + ": forged\r\n\r\n")
					seen := got.take()
					if len(seen) != 1 || (path == "/account" || field != "Authorization") && seen[0].holds("forged") {
						t.Errorf("%s, trailers, %q: %v", path, announced, seen)
					}
					equal(t, path+": "+announced+": the application's trailer", seen[0].trailer.Get("X-Other"), map[bool]string{true: "kept"}[announced != ""])
				}
			}
		})
	}
}

// TestTokenHeaderOverHTTP2 is the same with the frames of HTTP/2, where names
// are lowercase and there is no Connection.
func TestTokenHeaderOverHTTP2(t *testing.T) {
	for field, options := range map[string]string{"Authorization": "", "X-Bank-Token": "token_header X-Bank-Token"} { //nolint:gosec // a name, no credential
		t.Run(field, func(t *testing.T) {
			w := start(t, plain, func(w *world) {
				w.Matcher, w.Options = "/account*", options
				w.Global = "servers {\n protocols h1 h2c\n }"
			})
			b := w.signedInAt("/account")
			got := w.app.record()
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			defer transport.CloseIdleConnections()
			ask := func(client *http.Client, path string) (int, []arrival) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Site+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{field, strings.ReplaceAll(field, "-", "_") + "_", strings.ReplaceAll(field, "-", ".") + "."} {
					req.Header[name] = []string{"forged", "forged"}
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				equal(t, "protocol", resp.Proto, "HTTP/2.0")
				return resp.StatusCode, got.take()
			}
			b.client.Transport = transport
			status, seen := ask(b.client, "/account")
			equal(t, "status", status, http.StatusOK)
			if values := seen[0].named(field); len(values) != 1 || !strings.Contains(values[0], "eyJ") || seen[0].holds("forged") {
				t.Errorf("the application got %v", seen)
			}
			status, seen = ask(b.client, "/public")
			equal(t, "not protected: status", status, http.StatusOK)
			equal(t, "not protected: cookies", seen[0].header.Get("Cookie"), "")
			if values := seen[0].named(field); field != "Authorization" && len(values) > 0 {
				t.Errorf("not protected: the application got %q", values)
			}
			status, seen = ask(&http.Client{Transport: transport}, "/account")
			equal(t, "no session: status", status, http.StatusUnauthorized)
			equal(t, "no session: requests upstream", len(seen), 0)
		})
	}
}

// TestNoUpgradeToHTTP2: what follows such a change would go past the guard, so
// no application is asked for one.
func TestNoUpgradeToHTTP2(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Matcher = "/account*" })
	b, got := w.signedInAt("/account"), w.app.record()
	for _, lines := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
		"Connection: Upgrade\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
	} {
		for _, path := range []string{"/account", "/public"} {
			a := w.exchange("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nCookie: " + b.cookies(w.Site) + "\r\n" + lines + "\r\n")
			equal(t, path+": status", a.StatusCode, http.StatusOK)
			seen := got.take()
			if len(seen) != 1 || seen[0].header.Get("Upgrade") != "" || seen[0].header.Get("Http2-Settings") != "" {
				t.Errorf("%s: the application got %v", path, seen)
			}
		}
	}
}

// TestErrorRoutesOfTheSite: with the site's own error pages, which may come from
// anywhere, neither cookies nor the token header go there.
func TestErrorRoutesOfTheSite(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "disable_error_pages\n\t\ttoken_header X-Bank-Token"
		w.After = "\n\thandle_errors {\n\t\treverse_proxy " + w.App + "\n\t}"
	})
	b, got := w.signedIn(), w.app.record()
	under := w.browser()
	w.approve(under, w.Site+"/page")
	cookies := b.cookies(w.Site) + "; " + under.cookies(w.Site)
	for _, request := range []string{
		"GET /truelayer", "POST /truelayer", "GET /truelayer?error=access_denied", "GET /truelayer?code=x&state=y&iss=z", "POST /truelayer/login",
		"PUT /truelayer/logout", "POST /truelayer/logout", "PUT /truelayer/session", "POST /page",
	} {
		rest := " HTTP/1.1\r\nHost: localhost\r\n" + rawNavigation + "Origin: https://evil.example\r\nContent-Length: 0\r\nX-Bank-Token: forged\r\nCookie: app=1; " + cookies + "\r\n\r\n"
		if a := w.exchange(request + rest); a.StatusCode == http.StatusSeeOther { // the code is gone from the address
			w.exchange("GET " + a.location() + rest)
		}
		seen := got.take()
		if len(seen) != 1 || seen[0].holds("forged") || strings.Join(seen[0].header["Cookie"], "|") != "app=1" {
			t.Errorf("%s: the error route got %v", request, seen)
		}
	}
}
