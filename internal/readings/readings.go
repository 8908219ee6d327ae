// Package readings finds the ways in which applications may read an address.
//
// A matcher reads a path in one way: decoded once, in lower case, with slashes
// merged and dot segments resolved. Applications may read it differently. One takes
// what follows "//" for a host, another cuts the path at ";" or at an escaped "?", a
// third decodes it again. A path that is public to the matcher could then be a
// protected one to the application, so the matcher is asked about every reading.
package readings

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxReadings bounds how many readings of one path the matcher is asked about,
	// and maxBytes their total length.
	maxReadings = 32
	maxBytes    = 16 << 10
	// maxUnescapes bounds how often an already decoded path is decoded again.
	maxUnescapes = 2
)

// Of returns the URLs, other than u itself, that an application may read u as. If they
// cannot all be known, it returns false, and u must be protected.
func Of(u *url.URL) (others []url.URL, known bool) {
	others, known = appendPaths(nil, u)
	route := queryRoute(u.RawQuery)
	if !known || route == "" {
		return others, known
	}
	read := withPath(u, route)
	return appendPaths(append(others, read), &read)
}

func withPath(u *url.URL, path string) url.URL {
	read := *u
	read.Path, read.RawPath = path, ""
	return read
}

func appendPaths(others []url.URL, u *url.URL) ([]url.URL, bool) {
	paths, known := otherPaths(u)
	for _, path := range paths {
		others = append(others, withPath(u, path))
	}
	return others, known
}

// queryRoute returns the path that some applications route by if a query begins with a
// slash, as in "/?/account". It returns "" for other queries. A route in a parameter,
// as in "/?page=account", cannot be told from any other parameter.
func queryRoute(query string) string {
	if !strings.HasPrefix(query, "/") && !strings.HasPrefix(query, "%2") {
		return ""
	}
	query = cutAt(cutAt(query, "&"), "?")
	if route, err := url.PathUnescape(query); err == nil {
		query = route
	}
	if !strings.HasPrefix(query, "/") {
		return ""
	}
	return query
}

// otherPaths returns the paths, other than u.Path itself, that an application may read
// it as. If they cannot all be known, it returns false, and u must be protected.
func otherPaths(u *url.URL) (paths []string, known bool) {
	if !strings.HasPrefix(u.Path, "/") {
		return nil, false // reverse_proxy sends "x:http://host/path" on as "http://host/path"
	}
	if hasOneReading(u) {
		return nil, true
	}
	decoded, ok := decodings(u)
	if !ok {
		return nil, false
	}
	for _, path := range decoded {
		spelled, ok := spellings(path)
		if !ok {
			return nil, false
		}
		for _, spelling := range spelled {
			if startsWithHost(spelling) || HasDots(spelling) {
				return nil, false
			}
			if spelling != u.Path && !slices.Contains(paths, spelling) {
				paths = append(paths, spelling)
			}
		}
	}
	return paths, len(paths) <= maxReadings && size(paths) <= maxBytes
}

func size(paths []string) (n int) {
	for _, path := range paths {
		n += len(path)
	}
	return n
}

// hasOneReading reports whether the path of u, which begins with a slash, contains
// nothing that parsers disagree about. Nearly every path is like this.
func hasOneReading(u *url.URL) bool {
	path := u.Path
	if u.RawPath != "" || strings.HasPrefix(path, "//") {
		return false
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c <= 0x20, c >= 0x7f, c == '%', c == '\\', c == ';', c == '?', c == '#':
			return false
		case c == '.' && (path[i-1] == '/' || i+1 == len(path) || path[i+1] == '/'):
			return false
		}
	}
	return true
}

// decodings returns the path of u decoded once, decoded once except for its escaped
// slashes, and decoded up to maxUnescapes times more. It returns false if an escape in
// one of them is malformed, or if an escape remains at the end.
func decodings(u *url.URL) (paths []string, ok bool) {
	if len(u.Path) > maxBytes {
		return nil, false
	}
	keepSlashes := strings.NewReplacer("%2f", "%252F", "%2F", "%252F")
	path, err := url.PathUnescape(keepSlashes.Replace(u.EscapedPath()))
	if err != nil {
		return nil, false
	}
	paths = []string{u.Path, path}
	path = u.Path
	for n := 0; ; n++ {
		again, err := url.PathUnescape(path)
		if err != nil {
			return nil, false
		}
		if again == path {
			break
		}
		if n == maxUnescapes {
			return nil, false
		}
		path = again
		paths = append(paths, path)
	}
	percents := foldedPercents.Replace(path)
	if again, err := url.PathUnescape(percents); err == nil && again != percents {
		return nil, false
	}
	return paths, true
}

// decodeOverlong decodes characters that have more bytes than UTF-8 allows (RFC 3629
// section 10), such as a slash in the bytes C0 AF. If the path has another encoding, it
// may change bytes that only look like such a character. That affects only this
// reading.
func decodeOverlong(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); {
		c, length := overlong(path[i:])
		if length == 0 {
			b.WriteByte(path[i])
			i++
			continue
		}
		b.WriteRune(c)
		i += length
	}
	return b.String()
}

// overlong returns the character that s begins with and its length, if it has more bytes
// than it needs. The first byte says how many bytes follow, with six bits each.
func overlong(s string) (c rune, length int) {
	for n := 2; n <= 6; n++ {
		lead := byte(0xff) << (8 - n)
		if s[0]&(lead>>1|0x80) != lead || len(s) < n {
			continue
		}
		c = rune(s[0] &^ lead)
		for _, b := range []byte(s[1:n]) {
			if b&0xc0 != 0x80 {
				return 0, 0
			}
			c = c<<6 | rune(b&0x3f)
		}
		if least := utf8.RuneLen(c); least > 0 && least < n {
			return c, n
		}
	}
	return 0, 0
}

var (
	// foldedCharacters are those that Unicode's compatibility forms (NFKC) turn
	// into a dot, a slash, or another character that ends a path.
	foldedCharacters = strings.NewReplacer(
		"\uff0e", ".", "\ufe52", ".", "\u2024", ".", "\u2025", "..", "\u2026", "...",
		"\uff0f", "/", "\uff3c", `\`, "\ufe68", `\`, "\uff1b", ";", "\ufe54", ";", "\uff1f", "?", "\ufe56", "?", "\uff03", "#", "\ufe5f", "#",
		"\ufe30", "..", "\ufe19", "...", "\u037e", ";", "\ufe14", ";", "\ufe16", "?", "\u2047", "??", "\u2048", "?!", "\u2049", "!?",
		"\u2100", "a/c", "\u2101", "a/s", "\u2105", "c/o", "\u2106", "c/u",
	)
	foldedPercents = strings.NewReplacer("\uff05", "%", "\ufe6a", "%")
	// droppedCharacters are those that the URL parsers of browsers, and of many
	// applications, remove from an address (WHATWG URL standard, basic URL parser).
	droppedCharacters = strings.NewReplacer("\t", "", "\n", "", "\r", "")
)

// spellings returns a decoded path as it is and as other parsers read it. It returns
// false if the readings are too long together.
func spellings(path string) (paths []string, ok bool) {
	paths, left := []string{path}, maxBytes-len(path)
	add := func(change func(string) string) {
		for _, path := range paths {
			if changed := change(path); left >= 0 && !slices.Contains(paths, changed) {
				paths, left = append(paths, changed), left-len(changed)
			}
		}
	}
	add(decodeOverlong)
	add(foldedCharacters.Replace)
	add(droppedCharacters.Replace)
	add(func(path string) string { return strings.ReplaceAll(path, `\`, "/") })
	for _, end := range []string{"?", "#", "\x00"} {
		add(func(path string) string { return cutAt(path, end) })
	}
	add(func(path string) string { return cutAt(path, ";") })
	// servlet containers remove path parameters (RFC 3986 section 3.3)
	add(func(path string) string {
		return mapSegments(path, func(segment string) string { return cutAt(segment, ";") })
	})
	// Windows removes dots and spaces at the ends of names
	add(func(path string) string {
		return mapSegments(path, func(segment string) string {
			if strings.Trim(segment, ".") == "" {
				return segment
			}
			return strings.TrimRight(segment, ". ")
		})
	})
	return paths, left >= 0
}

func cutAt(s, end string) string {
	s, _, _ = strings.Cut(s, end)
	return s
}

func mapSegments(path string, change func(string) string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = change(segment)
	}
	return strings.Join(segments, "/")
}

// startsWithHost reports whether URL parsers read the beginning of a path as a host
// (RFC 3986 section 4.2, network-path reference).
func startsWithHost(path string) bool {
	return strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`)
}

// HasDots reports whether a path has a segment that an application may read as "." or
// "..": one with parameters or with characters that some applications drop counts, too.
// Matchers resolve such segments, but not every application does. Browsers resolve
// them before they send a request.
func HasDots(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		if segment = strings.Map(dropUnprintable, cutAt(segment, ";")); segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// dropUnprintable drops, for strings.Map, the characters that must be escaped in an
// address (RFC 3986 section 2). Some applications drop them, at the ends or everywhere.
func dropUnprintable(c rune) rune {
	if c <= 0x20 || c >= 0x7f {
		return -1
	}
	return c
}
