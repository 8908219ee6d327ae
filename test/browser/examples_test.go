package browser

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// startExample runs one of the examples, which finds an interpreter if it needs one.
func startExample(t *testing.T, command string, flags ...string) (site string, example *program) {
	t.Helper()
	port := freePort(t)
	site = fmt.Sprintf("http://localhost:%d", port)
	flags = append(flags, "-port", strconv.Itoa(port), "-simulator-port", "0")
	return site, startProgram(t, command, "ready: "+site+"\n", []string{"PATH=" + os.Getenv("PATH")}, flags...)
}

// endsClean presses Ctrl-C. The example ends, and leaves nothing behind.
func endsClean(t *testing.T, example *program) {
	t.Helper()
	if err := example.interrupt(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if left := example.leftovers(); len(left) > 0 {
		t.Errorf("the example left behind %q", left)
	}
}

// TestExampleFetch: a page's script meets a 401, the visitor connects a bank, and is
// back on the page with the data.
func TestExampleFetch(t *testing.T) {
	site, example := startExample(t, "./examples/fetch", "-app-port", strconv.Itoa(freePort(t)))
	tab := startBrowser(t).tab()

	tab.open(site)
	tab.sees("Payslips")
	fitsNarrow(t, tab)
	tab.click("Show my payslips")
	tab.connects()
	tab.text("#payslips:not([hidden])")
	equal(t, "the address", tab.address(), site+"/?show")
	equal(t, "the bank", tab.text("#bank"), "mock")
	equal(t, "the last month", tab.text("#payslips tbody tr:last-child td"), "October 2026")
	fitsNarrow(t, tab)
	seesNoToken(t, tab, site)

	tab.click("Sign out")
	tab.sees("You are signed out")
	tab.open(site + "/?show")
	tab.sees("Choose your bank")
	endsClean(t, example)
}

// TestExampleAPI: a page's script calls the Verification API, and the token that does
// it is nowhere in the browser.
func TestExampleAPI(t *testing.T) {
	site, example := startExample(t, "./examples/api")
	tab := startBrowser(t).tab()

	tab.open(site)
	tab.sees("Whose account is it?")
	fitsNarrow(t, tab)
	tab.click("Connect your bank")
	tab.connects()
	tab.sees("Whose account is it?")
	for _, check := range []struct{ name, verdict, account string }{
		{"John Doe", "John Doe holds the account.", "Current account: verified"},
		{"Jane Carter", "Jane Carter does not hold the account.", "Current account: not verified"},
	} {
		tab.fill("name", check.name)
		tab.click("Check the name")
		tab.until("the bank answers", func() bool { return tab.text("#verdict") == check.verdict })
		equal(t, check.name, tab.text("#accounts li"), check.account)
	}
	fitsNarrow(t, tab)
	seesNoToken(t, tab, site)

	equal(t, "signing out elsewhere", tab.script(`fetch("/truelayer/logout", {method: "POST"}).then((answer) => String(answer.status))`), "200")
	tab.click("Check the name")
	tab.until("the page asks for a connection", func() bool {
		return tab.text("#verdict") == "The name cannot be checked now: the connection to your bank has ended, connect it again."
	})
	tab.click("Connect your bank")
	tab.sees("Choose your bank")
	endsClean(t, example)
}
