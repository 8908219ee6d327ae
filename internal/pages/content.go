package pages

import (
	"crypto/sha256"
	"encoding/base64"
)

// Content is the content of a page.
type Content interface {
	// template is the name of the page's template.
	template() string
	// policy is what the page's Content-Security-Policy has beside that of every page.
	policy() string
}

// hashSource is the expression of a Content-Security-Policy that allows a script or a style
// by its digest.
func hashSource(text string) string {
	digest := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

// notFramed forbids other pages to show a page in a frame.
const notFramed = "; frame-ancestors 'none'"
