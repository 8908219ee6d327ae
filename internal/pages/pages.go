// Package pages draws the pages that visitors see: data in, bytes out. The words
// are in texts, the layout is one for all pages. It works without a script and
// loads nothing.
package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
)

// Text is what a page says.
type Text struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	// Action is on the page's button; "" is none.
	Action string `json:"action"`
}

// Page is a page.
type Page struct {
	Text
	// Detail is a further sentence.
	Detail string
	// Provider is what the provider said, which is shown as a quotation.
	Provider string
	// Link is where the button leads to, unless there is a Post.
	Link string
	// Post is where the button posts to.
	Post string
	// Home is the start of the site; "" leaves the link to it out.
	Home string
	// Reason is a code for those who are asked for help.
	Reason string
	// Framed says that the page is shown inside of another one. It may be, then;
	// its links open at the top, since banks refuse to be framed.
	Framed bool
}

var (
	//go:embed layout.html
	layoutText string
	//go:embed style.css
	style string
	//go:embed texts/en.json
	english []byte

	layout = template.Must(template.New("layout").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // our own file
	}).Parse(layoutText))
	texts = readTexts(english)

	// the page's only style is allowed by its digest, nothing else at all
	policy = func() string {
		digest := sha256.Sum256([]byte(style))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'"
	}()
)

func readTexts(data []byte) (texts map[string]Text) {
	if err := json.Unmarshal(data, &texts); err != nil {
		panic(err) // our own file, which a test reads
	}
	return texts
}

// TextOf returns the text with the key, which is the code of a reason or the name of
// a page; the zero Text if there is none.
func TextOf(key string) Text { return texts[key] }

// Draw returns the page, and the Content-Security-Policy that it needs.
func (p *Page) Draw() (body []byte, contentPolicy string, err error) {
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		return nil, "", err
	}
	if p.Framed {
		return b.Bytes(), policy, nil
	}
	return b.Bytes(), policy + "; frame-ancestors 'none'", nil
}
