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
	// idleTimeout is how long an unused connection is kept. Most firewalls and
	// NAT gateways keep idle connections for longer.
	idleTimeout = 30 * time.Second
	// pingAfter is how long an HTTP/2 connection may be silent before it gets a
	// ping, and pingTimeout is how long the answer may take. Together they are
	// less than requestTimeout.
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// maxAnswer is the largest answer to accept. A token answer has 1 to 3 KB.
const maxAnswer = 64 << 10

// httpClient calls one server and reuses its connections. Each call has a time
// limit. It never follows a redirect: a token endpoint that redirects could
// otherwise send the client secret to another host.
//
// A connection that a firewall has silently dropped looks like one whose server is
// slow. A call that fails therefore retires all open connections: the next call
// dials a new one, and calls in progress continue. The client repeats nothing, and
// net/http repeats a POST only if the server has certainly not acted on it.
type httpClient struct {
	timeout   time.Duration
	transport atomic.Pointer[http.Transport] // owns the connections
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
		// or else the limit on the body would have to deal with gzip bombs
		DisableCompression: true,
	})
	return c
}

// do sends a request and reads the answer. It is an error if the body is larger
// than limit bytes. The status is 0 if there was no answer.
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
		return 0, nil, nil, WithoutAnswerText(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		c.retire(transport)
		return resp.StatusCode, resp.Header, nil, fmt.Errorf("reading the answer: %w", WithoutAnswerText(err))
	}
	if len(body) > limit {
		return resp.StatusCode, resp.Header, nil, fmt.Errorf("the answer is larger than %d bytes", limit)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// retire replaces the transport in which a call failed, unless another call has
// already done so. Connections in use close when they become idle.
func (c *httpClient) retire(failed *http.Transport) {
	if c.transport.CompareAndSwap(failed, failed.Clone()) {
		failed.CloseIdleConnections()
	}
}

// CloseIdleConnections closes the connections that no call is using.
func (c *httpClient) CloseIdleConnections() { c.transport.Load().CloseIdleConnections() }

// WithoutAnswerText returns errors of the network and of TLS as they are. It
// replaces the other errors of net/http, which may repeat parts of the answer at
// any length, such as a status line, a header field or a redirect.
func WithoutAnswerText(err error) error {
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

var errMalformed = errors.New("the connection broke, or the answer is malformed HTTP or too large")
