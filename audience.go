package truelayer

import (
	"net/http"
	"strconv"
	"strings"
)

// audience is the kind of client that waits for a response.
type audience int

const (
	unknown    audience = iota // not classified yet
	machine                    // a script, an image, a program
	navigation                 // a person who opens a page
	frame                      // a page inside another page
	form                       // a person who submits a form
)

// classify determines the audience from the Fetch Metadata fields, which scripts
// cannot forge. For clients that do not send them it uses Accept. The audience decides
// the form of a response, never whether a request is let through.
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

// isFrame reports whether a destination is that of a page inside another page (Fetch
// standard, section 2.2.5). A top-level page has the destination "document", or
// "empty" if the site's service worker requests it.
func isFrame(destination string) bool {
	switch destination {
	case "iframe", "frame", "fencedframe", "embed", "object":
		return true
	}
	return false
}

// acceptsHTML reports whether the lines of an Accept field ask for a page (RFC 9110
// section 12.5.1). Browsers name text/html when a person opens a page; some older
// ones add text/*. Programs send */*, which does not count as asking for a page.
func acceptsHTML(lines []string) bool {
	accepts, specific := false, false
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			name, parameters, _ := strings.Cut(element, ";")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "text/html":
				accepts, specific = weight(parameters) > 0 || specific && accepts, true
			case "text/*":
				if !specific { // text/html takes precedence
					accepts = accepts || weight(parameters) > 0
				}
			}
		}
	}
	return accepts
}

// weight returns the weight in the parameters of a media range (RFC 9110 section
// 12.4.2). It returns 1 if there is none or if it is malformed.
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
