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

// readPreflight reads a CORS preflight request (Fetch standard, section 3.3) from
// an origin that the operator has named: the method and the fields that a page of
// that origin wants to use.
//
// Preflight requests never carry a session. They are answered here, since
// otherwise one of them would be a request to the application by anybody.
func (h *Handler) readPreflight(r *http.Request) (method, fields string, ok bool) {
	if r.Method != http.MethodOptions || !h.isFriend(r) {
		return "", "", false
	}
	methods := r.Header["Access-Control-Request-Method"]
	if len(methods) != 1 || !isFieldToken(methods[0]) {
		return "", "", false
	}
	fields = strings.Join(r.Header["Access-Control-Request-Headers"], ",")
	if len(fields) > maxPreflightFields {
		return "", "", false
	}
	for field := range strings.SplitSeq(fields, ",") {
		if field = strings.Trim(field, " \t"); field != "" && !isFieldToken(field) {
			return "", "", false
		}
	}
	return methods[0], fields, true
}

// isFriend reports whether the request is from a page of an origin that
// allow_origins names.
func (h *Handler) isFriend(r *http.Request) bool {
	return slices.Contains(h.AllowOrigins, originOf(r))
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

// answerPreflight says that the origin's page may send what it asks for, with the
// visitor's session.
func (h *Handler) answerPreflight(w http.ResponseWriter, r *http.Request, method, fields string) error {
	h.allowOrigin(w, r)
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	addMissing(header, "Vary", "Access-Control-Request-Method")
	addMissing(header, "Vary", "Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", method)
	if fields != "" {
		header.Set("Access-Control-Allow-Headers", fields)
	}
	header.Set("Access-Control-Max-Age", preflightMaxAge)
	h.writeHeader(w, http.StatusNoContent)
	return nil
}

// allowOrigin lets the page of an origin that the operator has named read an
// answer of ours: the login URL in it, for example.
func (h *Handler) allowOrigin(w http.ResponseWriter, r *http.Request) {
	if len(h.AllowOrigins) == 0 {
		return
	}
	header := w.Header()
	addMissing(header, "Vary", "Origin")
	if h.isFriend(r) {
		header.Set("Access-Control-Allow-Origin", originOf(r))
		header.Set("Access-Control-Allow-Credentials", "true")
		header.Set("Access-Control-Expose-Headers", "Retry-After")
	}
}

// addMissing adds a value to a field that does not have it yet.
func addMissing(header http.Header, field, value string) {
	if !slices.Contains(header[field], value) {
		header.Add(field, value)
	}
}
