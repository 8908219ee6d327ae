package truelayer

import (
	"net/http"
	"slices"
	"strings"
)

const (
	// preflightMaxAge is for how many seconds a browser may remember the answer to
	// a preflight request: until allow_origins that was changed holds.
	preflightMaxAge = "60"
	// maxPreflightFields bounds the field names that a preflight request asks for.
	maxPreflightFields = 2 << 10
)

// preflight is what a page of another origin wants to use.
type preflight struct{ method, fields string }

// readPreflight reads a CORS preflight request (Fetch standard, section 3.3) from
// an origin that the operator has named. It returns nil if the request is none.
//
// Preflight requests never carry a session. They are answered by the module, since
// otherwise one of them would be a request to the application by anybody.
func (o *origins) readPreflight(r *http.Request) *preflight {
	if r.Method != http.MethodOptions || !o.isFriend(r) {
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

// allow lets the page of an origin that the operator has named read an
// answer of ours: the login URL in it, for example.
func (o *origins) allow(header http.Header, r *http.Request) {
	if len(o.friends) == 0 {
		return
	}
	addMissing(header, "Vary", "Origin")
	if o.isFriend(r) {
		header.Set("Access-Control-Allow-Origin", originOf(r))
		header.Set("Access-Control-Allow-Credentials", "true")
		header.Set("Access-Control-Expose-Headers", "Retry-After")
	}
}

// allowPreflight says that the origin's page may send what it asks for, with the
// visitor's session.
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

// addMissing adds a value to a field that does not have it yet.
func addMissing(header http.Header, field, value string) {
	if !slices.Contains(header[field], value) {
		header.Add(field, value)
	}
}
