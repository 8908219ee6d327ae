package banks

import (
	"strings"
	"unicode"
)

// maxName is the longest name, in runes.
const maxName = 100

// clean returns a text of at most so many runes, without the characters that would change
// a page's text or a line of the log: control and format characters, such as those for the
// direction of text, and characters without a meaning. What is not UTF-8 is replaced.
func clean(text string, most int) string {
	var runes []rune
	for _, r := range text { // invalid bytes are U+FFFD here
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsGraphic(r):
			continue
		}
		if r == ' ' && (len(runes) == 0 || runes[len(runes)-1] == ' ') {
			continue
		}
		if len(runes) == most {
			break
		}
		runes = append(runes, r)
	}
	return strings.TrimSpace(string(runes))
}
