package integration

import (
	"strings"
	"testing"
)

// TestCookiesOfTwoApplications: of two applications of one host, each behind a block of
// its own, neither gets the cookies of the other's block, nor do the error routes.
func TestCookiesOfTwoApplications(t *testing.T) {
	block := func(path, scopes string) string {
		return "truelayer {\nclient_id {{.ClientID}}\nclient_secret {env.TEST_CLIENT_SECRET}\nredirect_uri {{.Site}}" + path +
			"\nauth_server {{.AuthServer}}\nscopes " + scopes + "\ndisable_error_pages\n}\nreverse_proxy {{.App}}\n"
	}
	global := plain[:strings.Index(plain, "http://localhost")]
	w := start(t, global+"http://localhost:{{.Port}} {\nhandle /bank/* {\n"+block("/bank/truelayer", "verification")+"}\nhandle {\n"+
		block("/truelayer", "info")+"}\nhandle_errors {\nreverse_proxy {{.App}}\n}\n}\n", nil)
	b := w.browser()
	for _, page := range []string{"/x", "/bank/x"} {
		if page == "/bank/x" { // not signed in there yet: the error routes answer
			b.do("POST", w.Site+page, "Accept", "text/html")
			n, got := w.app.requests()
			equal(t, "at the error routes", n, 1)
			equal(t, "the module's cookies at the error routes", strings.Join(got.Header["Cookie"], "|"), "")
		}
		callback, err := w.sim.Grant(b.navigate(w.Site + page).location())
		if err != nil {
			t.Fatal(err)
		}
		b.navigate(callback)
	}
	for _, page := range []string{"/bank/x", "/x"} {
		before, _ := w.app.requests()
		b.navigate(w.Site + page)
		n, got := w.app.requests()
		equal(t, page+" at an application", n-before, 1)
		equal(t, page+": the module's cookies", strings.Join(got.Header["Cookie"], "|"), "")
	}
}
