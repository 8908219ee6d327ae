package browser

import (
	"bytes"
	"fmt"
	"image/png"
	"math"
	"net/http"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestFrameColors: whatever color and scheme a page has that frames ours, and whatever its
// visitor prefers, the words in the frame can be read. Some browsers tell a frame the scheme
// of its page, Chromium tells it only what the visitor prefers, and none tells it the color
// behind it.
func TestFrameColors(t *testing.T) {
	mux, _ := samples(t)
	mux.HandleFunc("GET /framing", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!DOCTYPE html><style>:root { %s }</style><iframe src="/page?en: message in a frame" width="700" height="500"></iframe>`, r.FormValue("style")) //nolint:gosec // the test's own style
	})
	address := serve(t, mux)
	tab := startBrowser(t).tab()
	get(tab, "making room for the frame", chromedp.EmulateViewport(800, 700))
	for _, style := range []string{"", "color-scheme: light", "color-scheme: dark", "color-scheme: light dark", "background: #0d1016"} {
		for _, preferred := range []string{"light", "dark"} {
			tab.emulate("prefers-color-scheme", preferred)
			tab.open(address + "/framing?" + url.Values{"style": {style}}.Encode())
			await[bool](tab, "the frame is there", `frames[0].document.querySelector("h1") !== null || null`)
			ground := tab.groundOfFrame()
			words := get(tab, "reading colors", chromedp.Evaluate[map[string][3]float64](inks))
			if len(words) < 5 {
				t.Fatalf("there is little to read: %v", words)
			}
			for words, ink := range words {
				if contrast := contrast(ink, ground); contrast < 4.5 {
					t.Errorf("%q, %s preferred: %.1f to 1 for %s: %v on %v", style, preferred, contrast, words, ink, ground)
				}
			}
		}
	}
}

// inks are the colors of the words in the frame, by the words.
const inks = `Object.fromEntries([...frames[0].document.querySelectorAll("header span, h1, p, dt, dd")].map((e) =>
	[e.innerText, frames[0].getComputedStyle(e).color.match(/[\d.]+/g).slice(0, 3).map(Number)]))`

// groundOfFrame is the color that a person sees in the frame's corner, where there is nothing
// else. What shines through a frame is known to nobody but the screen.
func (tab *tab) groundOfFrame() (ground [3]float64) {
	tab.t.Helper()
	corner := get(tab, "finding the corner", chromedp.Evaluate[[2]float64](`(({right, bottom}) => [right - 8, bottom - 8])(document.querySelector("iframe").getBoundingClientRect())`))
	screen, err := png.Decode(bytes.NewReader(get(tab, "taking a picture", chromedp.CaptureScreenshot())))
	if err != nil {
		tab.t.Fatal(err)
	}
	r, g, b, _ := screen.At(int(corner[0]), int(corner[1])).RGBA()
	return [3]float64{float64(r >> 8), float64(g >> 8), float64(b >> 8)}
}

// contrast is the contrast ratio of WCAG 2.2.
func contrast(a, b [3]float64) float64 {
	luminance := func(c [3]float64) float64 {
		for i, v := range c {
			if v /= 255; v <= 0.04045 {
				c[i] = v / 12.92
			} else {
				c[i] = math.Pow((v+0.055)/1.055, 2.4)
			}
		}
		return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
