// Package authserver is a client for TrueLayer's auth server: it makes auth links,
// calls the token endpoint, and checks access tokens. It implements OAuth 2.0
// (RFC 6749, RFC 6750, RFC 7636, RFC 9068) and does not depend on Caddy.
package authserver

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// Server is the address of an auth server and the connections to it. Clients of
// the same auth server share one.
type Server struct {
	base string
	http *httpClient
}

// NewServer returns the auth server at base, a URL. If base has a path, the paths
// of all endpoints are below it. NewServer makes no call.
func NewServer(base string) *Server {
	return &Server{base: strings.TrimSuffix(base, "/"), http: newHTTPClient()}
}

// Base returns the URL of the auth server.
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

// PostJSON sends a body in JSON to an endpoint, once, with further header fields, and reads
// the answer, up to the size of a token answer. The status is 0 if there was no answer.
func (s *Server) PostJSON(ctx context.Context, path string, fields http.Header, body []byte) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	maps.Copy(req.Header, fields)
	req.Header.Set("Content-Type", "application/json")
	return s.do(req)
}

// do sends a request and reads the answer, up to maxAnswer.
func (s *Server) do(req *http.Request) (int, http.Header, []byte, error) {
	return s.ask(req, maxAnswer)
}

func (s *Server) ask(req *http.Request, limit int) (int, http.Header, []byte, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-truelayer")
	return s.http.do(req, limit)
}

// Get asks for what needs no token, such as the list of providers, and reads at most
// limit bytes of the answer. The status is 0 if there was no answer. The path is
// relative to Base, with its query.
func (s *Server) Get(ctx context.Context, path string, limit int) (status int, header http.Header, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	return s.ask(req, limit)
}
