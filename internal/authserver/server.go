// Package authserver is TrueLayer's auth server as a Go client: the auth link,
// the token endpoint, and the check of access tokens. It knows HTTP and OAuth
// 2.0 (RFC 6749, RFC 6750, RFC 7636, RFC 9068) and nothing of Caddy.
package authserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// requestTimeout bounds one call from dialing to the last byte of the answer.
	requestTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer. A token answer is 1 to 3 KB.
	maxAnswer = 64 << 10
)

// Server is one auth server as this process knows it: its address and its
// connections. Clients of the same auth server share one.
type Server struct {
	base string
	http *http.Client
}

// NewServer returns the auth server at base, a URL without a trailing slash
// whose path, if any, is put before every endpoint's. It makes no call.
func NewServer(base string) *Server {
	return &Server{base: strings.TrimSuffix(base, "/"), http: newHTTPClient()}
}

// newHTTPClient returns a client that is bounded in time and never follows a
// redirect: a token endpoint that redirects would otherwise be handed to
// another host together with the client secret.
func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    32,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  requestTimeout,
			MaxResponseHeaderBytes: maxAnswer,
			// without it the bound on the body would have to hold for a gzip bomb
			DisableCompression: true,
		},
	}
}

// Base returns the address that the server was made with.
func (s *Server) Base() string { return s.base }

// CloseIdleConnections closes the connections that no call is using.
func (s *Server) CloseIdleConnections() { s.http.CloseIdleConnections() }

// post sends a form to an endpoint and returns the answer's status, header and
// body. Nothing is retried here; net/http itself repeats a POST only when it
// knows that no byte of it was written.
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
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, nil, silent(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return resp.StatusCode, resp.Header, nil, fmt.Errorf("reading the answer: %w", silent(err))
	}
	if len(body) > maxAnswer {
		return resp.StatusCode, resp.Header, nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// silent lets through what an error says of the network and of TLS. The rest of
// net/http's errors repeat what they could not read of an answer, at any
// length: a status line, a field, an address to go to.
func silent(err error) error {
	cause := err
	if call, ok := errors.AsType[*url.Error](err); ok {
		cause = call.Err
	}
	if _, ok := errors.AsType[net.Error](cause); ok { // timeouts, and all of package net
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](cause); ok {
		return err
	}
	if _, ok := errors.AsType[tls.AlertError](cause); ok {
		return err
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](cause); ok {
		return err
	}
	for _, known := range []error{io.EOF, io.ErrUnexpectedEOF, context.Canceled, http.ErrSchemeMismatch} {
		if errors.Is(cause, known) {
			return err
		}
	}
	return errMalformed
}

var errMalformed = errors.New("the connection broke, or what came is not well-formed HTTP, or too much of it")
