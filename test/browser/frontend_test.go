package browser

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"testing"
)

// What the application answers to scripts, and what a page shows of it.
const (
	data      = `{"balance":12}`
	noAccount = "no such account"
	noRights  = `{"title":"no rights"}`
)

// answerScripts adds what scripts ask the application for: data, and refusals that
// are the application's own.
func answerScripts(mux *http.ServeMux) {
	for path, answer := range map[string]struct {
		status     int
		kind, body string
	}{
		"/account/data":    {http.StatusOK, "application/json", data},
		"/account/plain":   {http.StatusUnauthorized, "text/plain; charset=utf-8", noAccount},
		"/account/problem": {http.StatusUnauthorized, "application/problem+json", noRights},
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", answer.kind)
			w.WriteHeader(answer.status)
			fmt.Fprint(w, answer.body)
		})
	}
}

// dashboard is a page that loads what its buttons say with the documents' function.
const dashboard = `<h1>Dashboard</h1>
<button value="/account/data">Data</button> <button value="/account/plain">Plain</button> <button value="/account/problem">Problem</button>
<p id="result"></p>
<script src="/snippet.js"></script>
<script>
for (const button of document.querySelectorAll("button")) button.onclick = async () => {
	const result = document.getElementById("result");
	try {
		const answer = await fetchOrConnect(button.value);
		result.textContent = answer.status + " " + await answer.text();
	} catch (error) {
		result.textContent = error;
	}
};
</script>`

// snippet is the script that docs/frontends.md tells its readers to copy.
func snippet(t *testing.T) string {
	t.Helper()
	document, err := os.ReadFile("../../docs/frontends.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```js\n(.*?)```").FindAllSubmatch(document, -1)
	if len(blocks) != 1 {
		t.Fatalf("docs/frontends.md has %d scripts", len(blocks))
	}
	return string(blocks[0][1])
}

// TestFrontEndSnippet runs the documents' script on a page: without a session,
// with answers of the application's own, and after a session has ended elsewhere.
func TestFrontEndSnippet(t *testing.T) {
	s := startSite(t, map[string]string{"/snippet.js": snippet(t), "/dashboard": dashboard})
	browser := startBrowser(t)
	tab, page := browser.tab(), s.url+"/dashboard?tab=2&q=%C3%A9"
	loads := func(words, want string) {
		t.Helper()
		tab.click(words)
		await[bool](tab, words+" gives "+want, fmt.Sprintf(`document.getElementById("result")?.textContent === %q || null`, want))
	}
	comesBack := func(when string) {
		t.Helper()
		tab.connects()
		tab.sees("Dashboard")
		equal(t, "the address "+when, tab.address(), page)
		loads("Data", "200 "+data)
	}

	tab.open(page)
	tab.sees("Dashboard")
	tab.click("Data")
	comesBack("after a login")

	loads("Plain", "401 "+noAccount)
	loads("Problem", "401 "+noRights)
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 1)

	other := browser.tab()
	other.open(s.url + "/truelayer/logout")
	other.click("Sign out")
	other.sees("You are signed out")
	tab.click("Data")
	comesBack("after the session ended")
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 2)
}
