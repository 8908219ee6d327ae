package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestFrame frames the protected page: banks refuse to be framed, so a frame
// has to ask for a click that leads out of it.
func TestFrame(t *testing.T) {
	s := startSite(t, map[string]string{
		"/framing": `<h1>Framing</h1><iframe src="/account" width="700" height="500"></iframe>`,
	})
	tab := startBrowser(t).tab()
	tab.open(s.url + "/framing")
	tab.sees("Framing")
	tab.seesInFrame("Connect your bank to continue")
	equal(t, "visits to the bank before a click", s.sim.Calls("authorize"), 0)

	tab.clickIn("frames[0].document", "Connect your bank")
	tab.connects()
	tab.sees("My account")
	equal(t, "the address", tab.address(), s.url+"/account")

	tab.open(s.url + "/framing")
	tab.sees("Framing")
	tab.seesInFrame("My account")
}

func (tab *tab) seesInFrame(heading string) {
	tab.t.Helper()
	await[bool](tab, "the frame shows "+heading, fmt.Sprintf(`frames[0].document.querySelector("h1")?.innerText === %q || null`, heading))
}

// TestFormPost sends a form with a file without a session. The page stays where it is while
// the person connects in another tab, and the browser sends everything again when the page is
// reloaded.
func TestFormPost(t *testing.T) {
	s := startSite(t, map[string]string{
		"/form": `<h1>Form</h1><form method="post" action="/account" enctype="multipart/form-data"><input name="name" value="John Doe"><input type="file" name="file"><button>Send</button></form>`,
	})
	browser := startBrowser(t)
	tab := browser.tab()
	tab.open(s.url + "/form")
	tab.sees("Form")
	file := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(file, []byte("the content"), 0o600); err != nil {
		t.Fatal(err)
	}
	get(tab, "choosing a file", chromedp.SetUploadFiles("[type=file]", []string{file}))
	tab.click("Send")
	tab.sees("Connect your bank to continue")
	equal(t, "visits to the bank before a click", s.sim.Calls("authorize"), 0)
	if text := tab.script("document.body.innerText"); !strings.Contains(text, "was not saved") {
		t.Errorf("nothing says that it was not saved: %s", text)
	}
	const link = `document.querySelector("a.action")`
	equal(t, "the link opens", tab.script(link+".target"), "_blank")
	other := browser.tab()
	other.open(tab.script(link + ".href"))
	other.connects()
	other.sees("Your bank is connected")
	tab.reload()
	tab.sees("Sent")
	equal(t, "sent", tab.text("#sent"), "John Doe, a.txt: the content")
}

// TestFetch asks from a script, which could not follow a redirect to the bank.
func TestFetch(t *testing.T) {
	s := startSite(t, nil)
	tab := startBrowser(t).tab()
	tab.open(s.url)
	tab.sees("Home")
	const ask = `fetch("/account?tab=2").then(async (r) => [r.status, r.redirected, r.headers.get("content-type"), (await r.json()).login_url].join(" "))`
	want := "401 false application/problem+json " + s.url + "/truelayer/login?return=%2Faccount%3Ftab%3D2"
	equal(t, "the answer", tab.script(ask), want)
	equal(t, "visits to the bank", s.sim.Calls("authorize"), 0)

	// the URL as it is comes back to what was fetched
	tab.script(fmt.Sprintf(`setTimeout(() => location.assign(%q)); ""`, strings.Fields(want)[3]))
	tab.connects()
	tab.sees("My account")
	equal(t, "the address", tab.address(), s.url+"/account?tab=2")
}
