package banks

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
)

// TestMediaTypes: the content decides what an image is, and what is none is refused,
// whatever it says that it is.
func TestMediaTypes(t *testing.T) {
	const svg = "image/svg+xml"
	for _, test := range []struct{ content, contentType, want string }{
		{"\x89PNG\r\n\x1a\nrest", "image/png", "image/png"},
		{"\x89PNG\r\n\x1a\nrest", "text/html", "image/png"},
		{"\x89PNG", "image/png", ""},
		{"\xff\xd8\xff\xe0", "", "image/jpeg"},
		{"GIF89a,", "image/png", "image/gif"},
		{"GIF87a,", "image/png", "image/gif"},
		{"RIFF\x01\x02\x03\x04WEBPVP8 ", "application/octet-stream", "image/webp"},
		{"RIFF\x01\x02\x03\x04WAVE", "image/webp", ""},
		{"", "image/png", ""},
		{"BM\x00\x00", "image/bmp", ""},
		{"\x00\x00\x01\x00", "image/x-icon", ""},
		{"<svg/>", svg, svg},
		{"<svg/>", "IMAGE/SVG+XML; charset=utf-8", svg},
		{"<svg/>", "text/html", ""},
		{"<svg/>", "image/svg+xml, text/html", ""},
		{"<svg/>", "image/png", ""},
		{"<svg/>", "", ""},
		{"<html><svg/></html>", svg, ""},
		{"<!DOCTYPE html><html>", svg, ""},
	} {
		if got := mediaTypeOf([]byte(test.content), test.contentType); got != test.want {
			t.Errorf("%q as %q: %q", test.content, test.contentType, got)
		}
	}
}

// TestSVG: only what has <svg> for its first element is an SVG image.
func TestSVG(t *testing.T) {
	const external = `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">`
	for content, want := range map[string]bool{
		`<svg xmlns="http://www.w3.org/2000/svg"></svg>`: true,
		"\ufeff<svg\n>": true,
		`<?xml version="1.0" encoding="UTF-8"?>` + "\n<svg>":                           true,
		"<?xml version='1.0'?><!-- <html> --> <!--x-->" + external + "<!-- y --><svg>": true,
		external + "<svg/>":                  true,
		`<!DOCTYPE svg SYSTEM 'a>b["'><svg>`: false,
		"":                                   false,
		"<svg":                               false,
		"svg":                                false,
		"<SVG>":                              false,
		"<svgs>":                             false,
		"<svg:svg>":                          false,
		"<svg\x00>":                          false,
		"<svg>\xff":                          false,
		"x<svg>":                             false,
		"<html><svg>":                        false,
		"<script/><svg>":                     false,
		"<!-- <svg> --><html>":               false,
		"<!-- <svg>":                         false,
		"<!--><svg>":                         false,
		`<?xml version="1.0"?><?xml-stylesheet href="x"?><svg>`: false,
		`<?xml-stylesheet href="x"?><svg>`:                      false,
		`<?xml`:                                                 false,
		` <?xml version="1.0"?><svg>`:                           false,
		`<!DOCTYPE svg [<!ENTITY a "b">]><svg>`:                 false,
		`<!DOCTYPE svg SYSTEM "x" [<!ENTITY a "b">]><svg>`:      false,
		external + external + "<svg>":                           false,
		`<!DOCTYPE svg "><svg>`:                                 false,
		`<!DOCTYPE"ENTITYg [<!DOC<b"Y]><svg>`:                   false,
		`<!doctype svg><svg>`:                                   false,
		"<![CDATA[<svg>]]>":                                     false,
		"\ufeff\ufeff<svg>":                                     false,
	} {
		if got := isSVG([]byte(content)); got != want {
			t.Errorf("%q: %v", content, got)
		}
	}
}

// FuzzSVG: what is taken for an SVG image is one for a parser of XML as well, or is
// malformed for it. Its first element is <svg>, and it defines no entities.
func FuzzSVG(f *testing.F) {
	for _, seed := range []string{`<svg/>`, `<!DOCTYPE"ENTITYg [<!DOC<b"Y]><svg>`, `<?xml version="1.0"?><!-- x --><!DOCTYPE svg PUBLIC "a" "b"><svg >`, `<!DOCTYPE svg [<!ENTITY a "b">]><svg>`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if !isSVG(content) {
			return
		}
		decoder := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff"))))
		for {
			token, err := decoder.RawToken()
			if err != nil {
				return // browsers show nothing of it either
			}
			switch token := token.(type) {
			case xml.StartElement:
				if token.Name.Local != "svg" || token.Name.Space != "" {
					t.Errorf("%q begins with %v", content, token.Name)
				}
				return
			case xml.Directive:
				if strings.Contains(string(token), "ENTITY") && strings.Contains(string(token), "[<!") {
					t.Errorf("%q has a directive %q", content, token)
				}
			case xml.CharData:
				if strings.TrimSpace(string(token)) != "" {
					t.Errorf("%q begins with text", content)
				}
			}
		}
	})
}
