package browser

import (
	"context"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// until waits for a condition.
func (tab *tab) until(words string, condition func() bool) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			tab.fail("waiting until "+words, ctx.Err())
		}
	}
}

// await waits until an expression has a value on a page that has loaded, and
// returns it. Looking and waiting in one step on the page itself is what makes
// it safe: chromedp's own queries lose sight of a page that is replaced
// meanwhile, or that comes back from the browser's memory.
func await[T any](tab *tab, words, expression string) (value T) {
	tab.t.Helper()
	expression = `document.readyState === "complete" ? ` + expression + ` : null`
	tab.until(words, func() bool {
		ctx, cancel := context.WithTimeout(tab.ctx, 5*time.Second)
		defer cancel()
		result, err := chromedp.Run(ctx, chromedp.Evaluate[*T](expression))
		if err != nil || result == nil { // a page that is being left answers with an error
			return false
		}
		value = *result
		return true
	})
	return value
}

// open types an address and waits until an answer comes.
func (tab *tab) open(address string) {
	tab.t.Helper()
	get(tab, "opening "+address, call(page.Navigate, page.NavigateParams{URL: address}))
}

// reload presses the button and waits for the page.
func (tab *tab) reload() {
	tab.t.Helper()
	get(tab, "reloading", chromedp.Reload())
}

// sees waits for a page with that heading.
func (tab *tab) sees(heading string) {
	tab.t.Helper()
	await[bool](tab, "the page is "+heading, fmt.Sprintf(`document.querySelector("h1")?.innerText === %q || null`, heading))
}

// text waits for an element and returns what it shows.
func (tab *tab) text(selector string) string {
	tab.t.Helper()
	return await[string](tab, selector+" is there", fmt.Sprintf(`document.querySelector(%q)?.innerText`, selector))
}

// click clicks the first link or button with these words.
func (tab *tab) click(words string) {
	tab.t.Helper()
	tab.clickIn("document", words)
}

// clickIn clicks in a document of the page. Nothing may lie over the middle of
// what is clicked.
func (tab *tab) clickIn(document, words string) {
	tab.t.Helper()
	point := await[[2]float64](tab, words+" can be clicked", fmt.Sprintf(`((page) => {
		const target = [...page.querySelectorAll("a, button")].find((e) => e.textContent.includes(%q));
		if (!target) return null;
		target.scrollIntoView({block: "center", behavior: "instant"});
		const box = target.getBoundingClientRect();
		const x = box.x + box.width / 2, y = box.y + box.height / 2;
		if (!target.contains(page.elementFromPoint(x, y))) return null;
		const frame = page.defaultView.frameElement?.getBoundingClientRect();
		return [x + (frame?.x ?? 0), y + (frame?.y ?? 0)];
	})(%s)`, words, document))
	get(tab, "clicking "+words, chromedp.MouseClickXY(point[0], point[1]))
}

// fill types into a field in place of what it holds.
func (tab *tab) fill(id, text string) {
	tab.t.Helper()
	field := fmt.Sprintf(`document.getElementById(%q)`, id)
	await[bool](tab, id+" is selected", fmt.Sprintf(`((field) => field && (field.select(), document.activeElement === field) || null)(%s)`, field))
	get(tab, "typing into "+id, chromedp.KeyEvent(text))
	await[bool](tab, id+" is filled in", fmt.Sprintf(`%s.value === %q || null`, field, text))
}

// script is what a script on the page finds out.
func (tab *tab) script(expression string) string {
	tab.t.Helper()
	return get(tab, "running "+expression, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
}

// address is what the address bar shows.
func (tab *tab) address() string {
	tab.t.Helper()
	history := tab.history()
	return history.Entries[history.CurrentIndex].URL
}

func (tab *tab) history() page.GetNavigationHistoryResult {
	tab.t.Helper()
	return get(tab, "reading the history", chromedp.NavigationEntries())
}

// cookies are the ones that would go to an address, by name, also those that
// no script can see.
func (tab *tab) cookies(address string) map[string]*network.Cookie {
	tab.t.Helper()
	list := get(tab, "reading the cookies", func(ctx context.Context, t *chromedp.Target) ([]*network.Cookie, error) {
		result, err := cdp.Call(ctx, t, network.GetCookies, network.GetCookiesParams{URLs: []string{address}})
		return result.Cookies, err
	})
	byName := make(map[string]*network.Cookie, len(list))
	for _, cookie := range list {
		byName[cookie.Name] = cookie
	}
	return byName
}

// connects goes through the bank's pages, to the last click.
func (tab *tab) connects() {
	tab.t.Helper()
	tab.goesToAccounts()
	tab.click("Connect")
}

// connectsAtBank is connects for a person who is at the bank already.
func (tab *tab) connectsAtBank() {
	tab.t.Helper()
	tab.text(".asked")
	tab.logsIn()
	tab.click("Connect")
}

func (tab *tab) goesToAccounts() {
	tab.t.Helper()
	tab.goesToConsent()
	tab.logsIn()
}

func (tab *tab) logsIn() {
	tab.t.Helper()
	tab.click("Allow")
	tab.sees("Log in")
	tab.fill("username", "john")
	tab.fill("password", "doe")
	tab.click("Log in")
	tab.sees("Hello John Doe")
}

func (tab *tab) goesToConsent() {
	tab.t.Helper()
	tab.sees("Choose your bank")
	tab.click("Mock")
	tab.text(".asked")
}
