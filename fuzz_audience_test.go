package truelayer

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// request is one with the fields whose value is not empty.
func request(method string, fields map[string]string) *http.Request {
	r := &http.Request{Method: method, Host: "app.example.com", URL: &url.URL{Path: "/page"}, Header: make(http.Header)}
	for name, value := range fields {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r
}

// FuzzClassify: only a person who opens a page is taken for one. What a script,
// an image or a prefetch sends never is, whatever else it claims.
func FuzzClassify(f *testing.F) {
	html := "text/html,application/xhtml+xml,*/*;q=0.8"
	f.Add("GET", "navigate", "document", html, "", "", "", "Mozilla/5.0")
	f.Add("GET", "", "", html, "", "", "", "")
	f.Add("GET", "", "document", "TEXT/HTML", "prefetch", "", "", "curl")
	f.Add("GET", "cors", "empty", html, "", "", "", "")
	f.Add("GET", "Navigate", "document", html, "", "", "", "")
	f.Add("GET", "navigate", "empty", html, "", "", "", "")
	f.Add("GET", "navigate", "iframe", html, "", "", "", "")
	f.Add("POST", "navigate", "document", html, "", "prefetch;prerender", "", "")
	f.Add("GET", "websocket", "", "", "", "", "websocket", "")
	f.Add("GET", "navigate", "document", html, "", "", "h2c", "")
	f.Add("HEAD", "navigate", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, method, mode, dest, accept, purpose, secPurpose, upgrade, agent string) {
		fields := map[string]string{
			"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest, "Accept": accept,
			"Purpose": purpose, "Sec-Purpose": secPurpose, "Upgrade": upgrade,
		}
		got := classify(request(method, fields))
		if mode != "" && mode != "navigate" && got != machine {
			t.Errorf("Sec-Fetch-Mode %q is taken for %d", mode, got)
		}
		if upgrade != "" && got != machine {
			t.Errorf("an upgrade is taken for %d", got)
		}
		framed := slices.Contains([]string{"iframe", "frame", "fencedframe", "embed", "object"}, dest)
		opens := method == http.MethodGet && purpose == "" && secPurpose == "" && upgrade == "" && (!framed || mode == "")
		wants := mode == "navigate" || acceptsHTML([]string{accept})
		if (got == navigation) != (opens && wants && (mode == "" || mode == "navigate")) {
			t.Errorf("%s %q is taken for %d", method, fields, got)
		}
		// what any script can send changes nothing
		fields["User-Agent"], fields["X-Requested-With"], fields["Referer"], fields["Sec-Fetch-User"] = agent, agent, agent, agent
		if again := classify(request(method, fields)); again != got {
			t.Errorf("with %q it is %d, without it %d", agent, again, got)
		}
	})
}

// FuzzOrigin: with a session, what may change something or opens a connection
// comes from our own pages, from those of a friend, or from no page at all.
func FuzzOrigin(f *testing.F) {
	const friend = "https://www.example.com"
	h := &Handler{origin: testOrigin, AllowOrigins: []string{friend}}
	if err := h.setOrigins(); err != nil {
		f.Fatal(err)
	}
	f.Add("POST", testOrigin, "same-origin", "", "")
	f.Add("POST", friend, "same-site", "", "")
	f.Add("GET", "https://evil.example", "cross-site", "websocket", "")
	f.Add("OPTIONS", friend, "cross-site", "", "PUT")
	f.Add("DELETE", "null", "", "", "")
	f.Add("PUT", "https://APP.example.com", "", "", "")
	f.Add("CONNECT", "", "none", "", "")
	f.Add("CONNECT", "https://evil.example", "", "", "")
	f.Add("CONNECT", "https://evil.example", "same-site", "", "")
	f.Add("POST", "http://app.example.com", "", "", "") // our host over another scheme
	f.Add("OPTIONS", "https://evil.example", "cross-site", "", "PUT")
	f.Add("get", "https://app.example.com:443", "", "", "")
	f.Fuzz(func(t *testing.T, method, origin, site, upgrade, asks string) {
		r := request(method, map[string]string{
			"Origin": origin, "Sec-Fetch-Site": site, "Upgrade": upgrade, "Access-Control-Request-Method": asks,
		})
		reads := upgrade == "" && slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method)
		ours := site == "same-origin" || site == "none" || slices.Contains([]string{testOrigin, friend}, origin)
		nobody := origin == "" && site == ""
		if err := h.checkOrigin(r); err == nil && !reads && !ours && !nobody {
			t.Errorf("%s from %q, %q, was let through", method, origin, site)
		}
		if _, _, ok := h.readPreflight(r); ok && (method != "OPTIONS" || origin != friend || asks == "") {
			t.Errorf("%s from %q is told that it may ask", method, origin)
		}
	})
}

func TestAcceptsHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/html": true, "TEXT/HTML": true, " text/html ; charset=utf-8": true, "text/html;q=0.1": true, "text/html;level=1;q=0.7": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, "application/json, text/html;q=0.5": true,
		"text/html;q=0": false, "text/html; q=0.000, */*": false, "text/html;Q=0": false, "text/html;q=0,application/json": false,
		"text/*": true, "text/*;q=0": false, "text/*, text/html;q=0": false, "text/html;q=0, text/*": false, "text/html;q=0, text/html": true,
		"text/plain, text/*;q=0.5": true, "text/html;q=x": true, "text/html;q=": true,
		"*/*": false, "": false, "*": false, "text/htmlx": false, "xtext/html": false, "application/json;x=text/html": false, "image/*": false,
	} {
		if got := acceptsHTML([]string{accept}); got != want {
			t.Errorf("%q: got %v", accept, got)
		}
	}
	if !acceptsHTML([]string{"application/json", "text/html"}) {
		t.Error("the second line does not count")
	}
}
