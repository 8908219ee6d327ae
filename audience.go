package truelayer

import (
	"net/http"
	"strconv"
	"strings"
)

// audience is who waits for the answer to a request.
type audience int

const (
	unknown    audience = iota // nobody has asked yet
	machine                    // a script, an image, a program
	navigation                 // a person who opens a page
	frame                      // a page inside a page
	form                       // a person who sent a form
)

// classify tells the audience by the Fetch Metadata fields, which scripts cannot
// forge, and for clients without them by Accept. It decides the form of an answer,
// never whether a request is let through.
func classify(r *http.Request) audience {
	mode := r.Header.Get("Sec-Fetch-Mode")
	person := mode == "navigate"
	if mode == "" {
		person = acceptsHTML(r.Header["Accept"])
	}
	switch {
	case !person || r.Header.Get("Upgrade") != "":
		return machine
	case mode != "" && isFrame(r.Header.Get("Sec-Fetch-Dest")):
		return frame
	case r.Method == http.MethodPost:
		return form
	case r.Method != http.MethodGet, r.Header.Get("Sec-Purpose") != "", r.Header.Get("Purpose") != "":
		return machine // a prefetch must not mint an auth link
	}
	return navigation
}

// isFrame tells the destinations of pages inside of pages (Fetch standard, section
// 2.2.5). A person's own page has "document", or "empty" where the site's service
// worker asks for it.
func isFrame(destination string) bool {
	switch destination {
	case "iframe", "frame", "fencedframe", "embed", "object":
		return true
	}
	return false
}

// acceptsHTML reports whether the lines of an Accept field ask for a page (RFC 9110
// section 12.5.1). Browsers name text/html when a person opens a page; some older
// ones add text/*. That anything will do, as programs say with */*, asks for no page.
func acceptsHTML(lines []string) bool {
	accepts, specific := false, false
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			name, parameters, _ := strings.Cut(element, ";")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "text/html":
				accepts, specific = weight(parameters) > 0 || specific && accepts, true
			case "text/*":
				if !specific { // the more specific one counts
					accepts = accepts || weight(parameters) > 0
				}
			}
		}
	}
	return accepts
}

// weight is the weight among the parameters of a media range (RFC 9110 section
// 12.4.2), 1 if there is none that can be read.
func weight(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				return q
			}
		}
	}
	return 1
}
