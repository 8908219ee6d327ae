// Package pages renders the pages that visitors see. The texts are in the folder
// texts, and all pages have the same layout. A page needs no script and loads
// nothing.
package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
)

// Text is the text of a page.
type Text struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	// Action is the label of the button. If it is "", there is no button.
	Action string `json:"action"`
}

// Page is the content of a page.
type Page struct {
	Text
	// Detail is a second paragraph.
	Detail string
	// Provider is a message of the provider, which is shown as a quotation.
	Provider string
	// Link is the URL of the button, unless Post is set.
	Link string
	// Post is the URL to which the button posts.
	Post string
	// Home is the URL of the site's home page. If it is "", there is no link.
	Home string
	// Reason is a code that helps to find the cause.
	Reason string
	// RequestID is the id by which the log names the request.
	RequestID string
	// Framed allows other pages to embed the page in a frame. The links of every
	// page open in the top window, since banks refuse to be framed.
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

	// policy allows the style, by its digest, and nothing else
	policy = func() string {
		digest := sha256.Sum256([]byte(style))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'"
	}()
)

func readTexts(data []byte) (texts map[string]Text) {
	if err := json.Unmarshal(data, &texts); err != nil {
		panic(err) // the file is embedded, and a test reads it
	}
	return texts
}

// TextOf returns the text with the key, which is a reason code or the name of a
// page. It returns the zero Text if there is none.
func TextOf(key string) Text { return texts[key] }

// Draw returns the HTML of the page and its Content-Security-Policy.
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
