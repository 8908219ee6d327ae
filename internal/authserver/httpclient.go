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
	"sync/atomic"
	"time"
)

const (
	// requestTimeout bounds one call from dialing to the last byte of the answer.
	requestTimeout = 15 * time.Second
	// idleTimeout is how long a connection is kept unused: less than most of
	// what stands in between keeps idle connections before it forgets them.
	idleTimeout = 30 * time.Second
	// pingAfter is how long an HTTP/2 connection may be silent before it is
	// asked whether it is alive, and pingTimeout is how long it has to answer.
	// Together they are less than a call may take.
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// httpClient calls one server, and keeps the connections for further calls. It
// is bounded in time and never follows a redirect: a token endpoint that
// redirects would otherwise be handed to another host together with the client
// secret.
//
// A connection that something in between has dropped without a word cannot be
// told from one whose server is slow. So a call that fails retires all the
// connections there are: the next call dials anew, and calls that are under way
// go on to their end. Nothing is repeated here; net/http itself repeats a POST
// only when it knows that the server has not acted on it.
type httpClient struct {
	timeout   time.Duration
	transport atomic.Pointer[http.Transport] // it holds the connections
}

func newHTTPClient() *httpClient {
	c := &httpClient{timeout: requestTimeout}
	c.transport.Store(&http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  requestTimeout,
		MaxResponseHeaderBytes: maxAnswer,
		// without it the bound on the body would have to hold for a gzip bomb
		DisableCompression: true,
	})
	return c
}

// do sends a request and reads the answer, up to limit bytes of its body. The
// status is 0 when there was none.
func (c *httpClient) do(req *http.Request, limit int) (status int, header http.Header, body []byte, err error) {
	transport := c.transport.Load()
	client := http.Client{
		Transport: transport,
		Timeout:   c.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		c.retire(transport)
		return 0, nil, nil, silent(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		c.retire(transport)
		return resp.StatusCode, resp.Header, nil, fmt.Errorf("reading the answer: %w", silent(err))
	}
	if len(body) > limit {
		return resp.StatusCode, resp.Header, nil, fmt.Errorf("the answer is larger than %d bytes", limit)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// retire lets go of the connections among which a call failed, unless another
// call has done so already. Those that are in use close when they fall idle.
func (c *httpClient) retire(failed *http.Transport) {
	if c.transport.CompareAndSwap(failed, failed.Clone()) {
		failed.CloseIdleConnections()
	}
}

// CloseIdleConnections closes the connections that no call is using.
func (c *httpClient) CloseIdleConnections() { c.transport.Load().CloseIdleConnections() }

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
