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
	// The header field's name, made of letters, digits and hyphens.
	Field string `json:"field,omitempty"`

	// The authentication scheme before the token. Default: none, so that the field is
	// the bare token.
	Scheme string `json:"scheme,omitempty"`
}

// reservedFields cannot carry a token. Proxies read them, not applications, except
// Cookie, which carries the session.
var reservedFields = []string{
	"Connection", "Content-Length", "Cookie", "Expect", "Host", "Keep-Alive", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (t *TokenHeader) check() error {
	if !isFieldName(t.Field) {
		return fmt.Errorf("token_header %q is not a header field made of letters, digits and hyphens", t.Field)
	}
	for _, field := range reservedFields {
		if strings.EqualFold(t.Field, field) {
			return fmt.Errorf("token_header %s cannot carry a token: choose Authorization or a field of the application's own", t.Field)
		}
	}
	if t.Scheme != "" && !isFieldName(t.Scheme) {
		return fmt.Errorf("token_header scheme %q is not a word such as Bearer", t.Scheme)
	}
	return nil
}

// isFieldName reports whether s is a field name made of letters, digits and hyphens. It
// is stricter than RFC 9110 section 5.1, because some applications do not distinguish
// underscores and dots from hyphens.
func isFieldName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}

// value returns the field's value for bearer, which is "Bearer " and the token.
func (t *TokenHeader) value(bearer string) string {
	switch t.Scheme {
	case "Bearer":
		return bearer
	case "":
		return bearer[len(session.BearerPrefix):]
	}
	return t.Scheme + bearer[len(session.BearerPrefix)-1:]
}

// dropOption removes a field's name from Connection. With that name a client could make
// the next proxy remove the field itself (RFC 9110 section 7.6.1).
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

// dropTrailer removes a field from the request's trailers, both now and at the end of
// the body, when net/http adds the trailers that follow it.
func dropTrailer(r *http.Request, field string) {
	if r.Trailer == nil {
		return // net/http drops trailers that were not announced
	}
	fold := func(name string) string {
		return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
	}
	drop := func() {
		maps.DeleteFunc(r.Trailer, func(name string, _ []string) bool { return fold(name) == fold(field) })
	}
	drop()
	r.Body = &eofBody{r.Body, drop}
}

// eofBody is a request body that calls onEOF when it has been read to its end.
type eofBody struct {
	io.ReadCloser
	onEOF func()
}

func (b *eofBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.onEOF()
	}
	return n, err
}
