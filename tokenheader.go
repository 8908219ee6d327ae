package truelayer

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// TokenHeader says how the access token is written into a request.
type TokenHeader struct {
	// The header field's name, letters, digits and hyphens.
	Field string `json:"field,omitempty"`

	// The authentication scheme before the token. Default: none, the field is
	// the bare token.
	Scheme string `json:"scheme,omitempty"`
}

// connectionFields are what a proxy, not an application, reads; and Cookie,
// which carries the session.
var connectionFields = []string{
	"Connection", "Content-Length", "Cookie", "Expect", "Host", "Keep-Alive", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (t *TokenHeader) check() error {
	if !isFieldName(t.Field) {
		return fmt.Errorf("token_header %q is not a header field of letters, digits and hyphens", t.Field)
	}
	for _, field := range connectionFields {
		if strings.EqualFold(t.Field, field) {
			return fmt.Errorf("token_header %s cannot carry a token: choose Authorization or a field of the application's own", t.Field)
		}
	}
	if t.Scheme != "" && !isFieldName(t.Scheme) {
		return fmt.Errorf("token_header scheme %q is not a word such as Bearer", t.Scheme)
	}
	return nil
}

// isFieldName is stricter than RFC 9110 section 5.1: names with an underscore
// or a dot are folded together with others by some applications.
func isFieldName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}

// value is the field's value for a token that stands behind "Bearer ".
func (t *TokenHeader) value(bearer string) string {
	switch t.Scheme {
	case "Bearer":
		return bearer
	case "":
		return bearer[len(session.BearerPrefix):]
	}
	return t.Scheme + bearer[len(session.BearerPrefix)-1:]
}

// dropOption takes a field's name out of Connection, where a client can put it
// for the proxy behind us to take the field off (RFC 9110 section 7.6.1).
func dropOption(header http.Header, field string) {
	var kept []string
	found := false
	for _, line := range header["Connection"] {
		if len(line) < len(field) {
			kept = append(kept, line)
			continue
		}
		for option := range strings.SplitSeq(line, ",") {
			if option = strings.Trim(option, " \t"); strings.EqualFold(option, field) {
				found = true
			} else {
				kept = append(kept, option)
			}
		}
	}
	if found {
		header["Connection"] = kept
	}
}

// dropTrailer takes a field out of the request's trailers, where net/http puts
// what stands behind the body when it has been read.
func dropTrailer(r *http.Request, field string) {
	if r.Trailer == nil {
		return // those that were not announced go nowhere
	}
	fold := func(name string) string {
		return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
	}
	drop := func() {
		maps.DeleteFunc(r.Trailer, func(name string, _ []string) bool { return fold(name) == fold(field) })
	}
	drop()
	r.Body = &bodyEnd{r.Body, drop}
}

// bodyEnd does something at the end of a body.
type bodyEnd struct {
	io.ReadCloser
	do func()
}

func (b *bodyEnd) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.do()
	}
	return n, err
}
