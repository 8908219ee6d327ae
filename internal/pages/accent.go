package pages

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
)

// color is red, green and blue.
type color [3]byte

// The colors behind links, and of the words on buttons, as style.css has them.
var (
	lightCard = color{0xff, 0xff, 0xff}
	darkCard  = color{0x1e, 0x24, 0x2c}
)

// leastContrast is what WCAG 2.2 asks of text, success criterion 1.4.3.
const leastContrast = 4.5

// accentStyle returns the style that makes buttons and links a color, "" if it is "". In the
// dark the color is made as light as it has to be.
func accentStyle(accent string) (string, error) {
	if accent == "" {
		return "", nil
	}
	c, ok := parseColor(accent)
	if !ok {
		return "", fmt.Errorf("accent %q is not a color: write it like 1652a8", accent)
	}
	if contrast := c.contrast(lightCard); contrast < leastContrast {
		mixed := c.towards(color{}, lightCard)
		return "", fmt.Errorf("accent %s has a contrast of %.1f to 1 with white, and the words on buttons need %.1f: choose a darker color, such as %s",
			accent, contrast, leastContrast, hex.EncodeToString(mixed[:]))
	}
	return fmt.Sprintf(":root { --action: %s; }\n@media (prefers-color-scheme: dark) { :root { --action: %s; } }\n",
		c, c.towards(color{0xff, 0xff, 0xff}, darkCard)), nil
}

func parseColor(s string) (c color, ok bool) {
	digits := strings.TrimPrefix(s, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(c) {
		return c, false
	}
	return color(b), true
}

func (c color) String() string { return "#" + hex.EncodeToString(c[:]) }

// luminance is the relative luminance of WCAG 2.2.
func (c color) luminance() float64 {
	var linear [3]float64
	for i, v := range c {
		if s := float64(v) / 255; s <= 0.04045 {
			linear[i] = s / 12.92
		} else {
			linear[i] = math.Pow((s+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

// contrast is the contrast ratio of WCAG 2.2.
func (c color) contrast(other color) float64 {
	a, b := c.luminance(), other.luminance()
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

// towards returns the color, mixed with as much of the end as it takes to be seen on the
// ground.
func (c color) towards(end, ground color) color {
	const steps = 32
	mixed := c
	for step := 1; step <= steps && mixed.contrast(ground) < leastContrast; step++ {
		for i := range c {
			mixed[i] = byte((int(c[i])*(steps-step) + int(end[i])*step) / steps) //nolint:gosec // a mean of two bytes
		}
	}
	return mixed
}
