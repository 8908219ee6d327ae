package truelayer

import (
	"net/http"
	"slices"
	"strings"
)

const (
	// preflightMaxAge is how many seconds a browser may cache the response to a
	// preflight request. A change of allow_origins takes effect that much later.
	preflightMaxAge = "60"
	// maxPreflightFields bounds the bytes of field names in a preflight request.
	maxPreflightFields = 2 << 10
)

// preflight is the method and the header fields that a page of another origin asks to
// use.
type preflight struct{ method, fields string }

// readPreflight reads a CORS preflight request (Fetch standard, section 3.3) from an
// origin in allow_origins. It returns nil if r is not one.
//
// Preflight requests never carry a session. The module answers them itself, because
// otherwise anybody could reach the application with one.
func (o *origins) readPreflight(r *http.Request) *preflight {
	if r.Method != http.MethodOptions || !o.isAllowed(r) {
		return nil
	}
	methods := r.Header["Access-Control-Request-Method"]
	if len(methods) != 1 || !isFieldToken(methods[0]) {
		return nil
	}
	fields := strings.Join(r.Header["Access-Control-Request-Headers"], ",")
	if len(fields) > maxPreflightFields {
		return nil
	}
	for field := range strings.SplitSeq(fields, ",") {
		if field = strings.Trim(field, " \t"); field != "" && !isFieldToken(field) {
			return nil
		}
	}
	return &preflight{methods[0], fields}
}

// isFieldToken reports whether s is a token (RFC 9110 section 5.6.2).
func isFieldToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// allow lets a page from an origin in allow_origins read a response of the module's
// own, for example to get the login URL from it.
func (o *origins) allow(header http.Header, r *http.Request) {
	if len(o.allowed) == 0 {
		return
	}
	addMissing(header, "Vary", "Origin")
	if o.isAllowed(r) {
		header.Set("Access-Control-Allow-Origin", originOf(r))
		header.Set("Access-Control-Allow-Credentials", "true")
		header.Set("Access-Control-Expose-Headers", "Retry-After")
	}
}

// allowPreflight lets the origin's page send what it asks for, with the visitor's
// session.
func (o *origins) allowPreflight(header http.Header, r *http.Request, p *preflight) {
	o.allow(header, r)
	header.Set("Cache-Control", "no-store")
	addMissing(header, "Vary", "Access-Control-Request-Method")
	addMissing(header, "Vary", "Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", p.method)
	if p.fields != "" {
		header.Set("Access-Control-Allow-Headers", p.fields)
	}
	header.Set("Access-Control-Max-Age", preflightMaxAge)
}

// addMissing adds a value to a field unless the field has it already.
func addMissing(header http.Header, field, value string) {
	if !slices.Contains(header[field], value) {
		header.Add(field, value)
	}
}
