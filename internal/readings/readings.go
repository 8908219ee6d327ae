// Package readings finds the ways in which applications may read an address.
//
// A matcher reads a path in one way: decoded once, in lower case, with slashes
// merged and dot segments resolved. Applications have others. One takes what
// follows "//" for a host, one cuts the path at ";" or at an escaped "?", one
// decodes it again. What the matcher takes for a public path would then be a
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
	// and maxBytes how long they are together.
	maxReadings = 32
	maxBytes    = 16 << 10
	// maxUnescapes is how often a path, decoded already, is unescaped again.
	maxUnescapes = 2
)

// Of returns the other URLs that an application may take u for. It returns false
// if nobody can tell, so that u must not be public.
func Of(u *url.URL) (others []url.URL, clear bool) {
	others, clear = appendPaths(nil, u)
	route := queryRoute(u.RawQuery)
	if !clear || route == "" {
		return others, clear
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
	paths, clear := otherPaths(u)
	for _, path := range paths {
		others = append(others, withPath(u, path))
	}
	return others, clear
}

// queryRoute returns the path that applications with query routes take from a
// query that begins with a slash, "/?/account" for example. It returns "" for other
// queries. Routes in a parameter, "/?page=account", look like any parameter.
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

// otherPaths returns the paths, other than its own, that an application may take
// the path of u for. It returns false if nobody can tell, and u must not be
// public whatever the matcher says.
func otherPaths(u *url.URL) (paths []string, clear bool) {
	if !strings.HasPrefix(u.Path, "/") {
		return nil, false // of "x:http://host/path" reverse_proxy sends on "http://host/path"
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

// hasOneReading reports whether a path that begins with a slash has nothing in
// it that parsers disagree about. Nearly every path is one of these.
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

// decodings returns the path of u decoded once, once without its escaped
// slashes, and again. It returns false if an escape in one of them is broken, or if
// there is one after the last time.
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

// decodeOverlong decodes characters that are longer than UTF-8 allows (RFC 3629
// section 10), such as a slash in the bytes C0 AF. Bytes that only look so, in
// another encoding of the path, become others, which harms no reading but this one.
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

// overlong returns the character that s begins with, if it is longer than it has to
// be, and its length. The first byte says how many follow, of six bits each.
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
	// urlParsersDrop is what the URL parsers of browsers, and of many
	// applications, take out of an address (WHATWG URL standard, basic URL parser).
	urlParsersDrop = strings.NewReplacer("\t", "", "\n", "", "\r", "")
)

// spellings returns a decoded path as it is and as other parsers see it. It returns
// false if there are too many ways.
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
	add(urlParsersDrop.Replace)
	add(func(path string) string { return strings.ReplaceAll(path, `\`, "/") })
	for _, end := range []string{"?", "#", "\x00"} {
		add(func(path string) string { return cutAt(path, end) })
	}
	add(func(path string) string { return cutAt(path, ";") })
	// path parameters (RFC 3986 section 3.3), which servlet containers take off
	add(func(path string) string {
		return mapSegments(path, func(segment string) string { return cutAt(segment, ";") })
	})
	// Windows takes dots and spaces off the ends of names
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

// namesHost reports whether URL parsers take the beginning of a path for a host
// (RFC 3986 section 4.2, network-path reference).
func startsWithHost(path string) bool {
	return strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`)
}

// HasDots reports whether a path has a segment "." or "..", with or without
// parameters, or with characters that some applications drop. Matchers resolve
// them and not every application does. Browsers resolve them before they ask.
func HasDots(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(c rune) bool { return c == '/' || c == '\\' }) {
		if segment = strings.Map(dropUnprintable, cutAt(segment, ";")); segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// printable drops the characters that an address cannot have unescaped (RFC 3986
// section 2). Some applications drop them too, at the ends or everywhere.
func dropUnprintable(c rune) rune {
	if c <= 0x20 || c >= 0x7f {
		return -1
	}
	return c
}
