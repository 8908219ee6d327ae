package truelayer

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// request is one with the fields whose value is not empty.
func requestWith(method string, fields map[string]string) *http.Request {
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
		got := classify(requestWith(method, fields))
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
		if again := classify(requestWith(method, fields)); again != got {
			t.Errorf("with %q it is %d, without it %d", agent, again, got)
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
