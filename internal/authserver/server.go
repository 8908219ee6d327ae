// Package authserver is TrueLayer's auth server as a Go client: the auth link,
// the token endpoint, and the check of access tokens. It knows HTTP and OAuth
// 2.0 (RFC 6749, RFC 6750, RFC 7636, RFC 9068) and nothing of Caddy.
package authserver

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer bounds what is read of an answer. A token answer is 1 to 3 KB.
const maxAnswer = 64 << 10

// Server is one auth server as this process knows it: its address and its
// connections. Clients of the same auth server share one.
type Server struct {
	base string
	http *httpClient
}

// NewServer returns the auth server at base, a URL without a trailing slash
// whose path, if any, is put before every endpoint's. It makes no call.
func NewServer(base string) *Server {
	return &Server{base: strings.TrimSuffix(base, "/"), http: newHTTPClient()}
}

// Base returns the address that the server was made with.
func (s *Server) Base() string { return s.base }

// CloseIdleConnections closes the connections that no call is using.
func (s *Server) CloseIdleConnections() { s.http.CloseIdleConnections() }

// post sends a form to an endpoint, once, and returns the answer's status,
// header and body.
func (s *Server) post(ctx context.Context, path string, form url.Values) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(req)
}

// do sends a request and reads the answer, bounded.
func (s *Server) do(req *http.Request) (int, http.Header, []byte, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-truelayer")
	return s.http.do(req, maxAnswer)
}
