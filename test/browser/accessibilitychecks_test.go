package browser

import (
	"fmt"
	"slices"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// fits is what is cut off, or lies where one has to scroll sideways to it, also with the
// spaces in the text that WCAG 2.2 allows readers, success criterion 1.4.12.
const fits = `(() => {
	const problems = [];
	const look = (how) => {
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth > width) problems.push(how + "one has to scroll sideways");
		for (const e of document.body.querySelectorAll("*")) {
			const style = getComputedStyle(e), box = e.getBoundingClientRect();
			if (!e.checkVisibility() || style.clipPath !== "none" || e.ownerSVGElement) continue;
			if (box.left < 0 || box.right > width + 1) problems.push(how + "out of sight: " + e.outerHTML);
			if (style.display === "inline" || e.matches("input, select, svg, img")) continue;
			if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 || style.overflowY !== "visible" && e.scrollHeight > e.clientHeight + 1) problems.push(how + "cut off: " + e.outerHTML);
		}
	};
	look("");
	const spaces = new CSSStyleSheet();
	spaces.replaceSync("* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important; } p { margin-bottom: 2em !important; }");
	document.adoptedStyleSheets = [spaces];
	look("with wide spaces: ");
	document.adoptedStyleSheets = [];
	return problems;
})()`

// borders is what looks like text, but is a button or a field, when the system chooses the colors.
const borders = `(() => {
	if (!matchMedia("(forced-colors: active)").matches) return ["the colors are not forced"];
	return [...document.querySelectorAll("button, input:not([type=hidden], [type=checkbox]), select, a.action, .banks a")].filter((e) => {
		const style = getComputedStyle(e);
		return e.checkVisibility() && (style.borderTopStyle === "none" || parseFloat(style.borderTopWidth) < 1 ||
			style.borderTopColor === getComputedStyle(document.body).backgroundColor || /^rgba.* 0\)$/.test(style.borderTopColor));
	}).map((e) => "no border: " + e.outerHTML);
})()`

// stops collects all that the keyboard has to reach, and says what has a ring without it.
const stops = `(() => {
	stops = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")].filter((e) => e.checkVisibility());
	ringed = (e) => getComputedStyle(e).outlineStyle !== "none" && parseFloat(getComputedStyle(e).outlineWidth) >= 2;
	return stops.map((e) => e !== document.activeElement && ringed(e) ? "a ring without the focus: " + e.outerHTML : "");
})()`

// stop is where the focus is: at which of the stops, or -1, and what is wrong there.
type stop struct {
	At      int
	Problem string
}

const whereFocus = `(() => {
	const e = document.activeElement, at = stops.indexOf(e), box = e.getBoundingClientRect();
	if (at === -1) return {at, problem: e.matches("body, .summary") ? "" : "the focus is on " + e.outerHTML};
	if (!e.matches(":focus-visible") || !ringed(e)) return {at, problem: "no focus to be seen on " + e.outerHTML};
	if (box.bottom < 0 || box.top > innerHeight) return {at, problem: "the focus is out of sight, on " + e.outerHTML};
	if (at > 0 && box.bottom <= stops[at - 1].getBoundingClientRect().top) return {at, problem: "the focus goes up to " + e.outerHTML};
	return {at, problem: ""};
})()`

// tabs presses Tab from the top of the page to the last stop, or Shift and Tab from there
// back to the first, and returns what was wrong. It does not go round: between the last stop
// and the first is the browser, whose own focus no page can see.
func (tab *tab) tabs(back bool) (problems []string) {
	tab.t.Helper()
	var order []int
	for i, problem := range list(tab, stops) {
		order = append(order, i)
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	press := chromedp.KeyEvent(kb.Tab)
	if back && len(order) > 0 {
		order = order[:len(order)-1]
		slices.Reverse(order)
		press = chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift))
	}
	for _, want := range order {
		get(tab, "pressing Tab", press)
		here := get(tab, "finding the focus", chromedp.Evaluate[stop](whereFocus))
		if here.Problem != "" {
			problems = append(problems, here.Problem)
		}
		if here.At != want {
			return append(problems, fmt.Sprintf("the focus is on stop %d in place of %d", here.At, want))
		}
	}
	return problems
}
