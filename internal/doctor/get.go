package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// newTransport returns connections that nobody else uses: a check has to see what a new
// connection would.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true, DisableCompression: true,
		TLSHandshakeTimeout: checkTimeout, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: time.Second,
	}
}

// maxPage is how much of an answer is read.
const maxPage = 64 << 10

// page is an answer to get.
type page struct {
	status   int
	header   http.Header
	location *url.URL // of a redirect, or nil
	body     []byte
}

// get fetches an address, without following a redirect.
func (b *Block) get(ctx context.Context, address, accept string) (*page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "caddy-truelayer-doctor")
	resp, err := b.HTTP.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, err
	}
	p := &page{status: resp.StatusCode, header: resp.Header, body: body}
	if location, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
		p.location = location
	}
	return p, nil
}

// withoutURL is an error without the address, which may be long.
func withoutURL(err error) string {
	if err == nil {
		return "no answer"
	}
	if call, ok := errors.AsType[*url.Error](err); ok {
		err = call.Err
	}
	return err.Error()
}

// remedyOf is the remedy for a connection that was not made.
func remedyOf(err error, other, name string) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name does not resolve: " + name
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate is not valid for this machine: check its clock and its trusted roots, and whether something intercepts TLS on the way"
	}
	return other
}
