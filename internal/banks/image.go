package banks

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"
)

// image is an image of a type that is served.
type image struct {
	content   []byte
	mediaType string
}

// signatures are how images begin. Each "?" stands for any byte.
var signatures = []struct{ begin, mediaType string }{
	{"\x89PNG\r\n\x1a\n", "image/png"},
	{"\xff\xd8\xff", "image/jpeg"},
	{"GIF87a", "image/gif"},
	{"GIF89a", "image/gif"},
	{"RIFF????WEBP", "image/webp"},
}

// mediaTypeOf returns the type of an image, "" if the content is not an image of a type
// that is served. The content decides. An SVG image has to be declared as one as well.
//
// An SVG image is a document that can have scripts, and is not sanitized. Whoever serves
// it does so with "Content-Security-Policy: default-src 'none'; style-src
// 'unsafe-inline'; sandbox" and "X-Content-Type-Options: nosniff", and pages use it in
// an <img> only, where browsers run no scripts and load nothing.
func mediaTypeOf(content []byte, contentType string) string {
	for _, s := range signatures {
		if begins(content, s.begin) {
			return s.mediaType
		}
	}
	if declared, _, err := mime.ParseMediaType(contentType); err == nil && declared == "image/svg+xml" && isSVG(content) {
		return declared
	}
	return ""
}

func begins(content []byte, signature string) bool {
	if len(content) < len(signature) {
		return false
	}
	for i := range len(signature) {
		if signature[i] != '?' && signature[i] != content[i] {
			return false
		}
	}
	return true
}

// isSVG reports whether the first element of an XML document in UTF-8 is <svg>. Before
// it there may be an XML declaration, comments, and a document type without declarations
// of its own, which could define entities.
func isSVG(content []byte) bool {
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		return false
	}
	rest := strings.TrimPrefix(string(content), "\ufeff")
	if after, ok := strings.CutPrefix(rest, "<?xml"); ok {
		if after == "" || !isXMLSpace(after[0]) {
			return false // another instruction, such as xml-stylesheet
		}
		if _, rest, ok = strings.Cut(after, "?>"); !ok {
			return false
		}
	}
	hadType := false
	for {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if after, ok := strings.CutPrefix(rest, "<!--"); ok {
			if _, rest, ok = strings.Cut(after, "-->"); !ok {
				return false
			}
			continue
		}
		after, ok := strings.CutPrefix(rest, "<!DOCTYPE")
		if !ok {
			break
		}
		if hadType {
			return false
		}
		hadType = true
		if rest, ok = skipDocumentType(after); !ok {
			return false
		}
	}
	after, ok := strings.CutPrefix(rest, "<svg")
	return ok && after != "" && (isXMLSpace(after[0]) || after[0] == '>' || after[0] == '/')
}

// skipDocumentType returns what follows a document type declaration, if it has no
// internal subset. It takes less than XML allows: no bracket may be in a quoted name either.
func skipDocumentType(text string) (rest string, ok bool) {
	declaration, rest, ended := strings.Cut(text, ">")
	quoted := strings.Count(declaration, `"`)%2 == 0 && strings.Count(declaration, "'")%2 == 0
	return rest, ended && quoted && !strings.ContainsAny(declaration, "[<")
}

func isXMLSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
