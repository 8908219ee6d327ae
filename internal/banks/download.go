package banks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

const (
	// downloadTimeout bounds one download from dialing to the last byte.
	downloadTimeout = 5 * time.Second
	// maxDownloads is how many logos are fetched at once.
	maxDownloads = 8
	// maxLogo is the largest logo to accept, and maxLogoHeader the largest header.
	maxLogo       = 64 << 10
	maxLogoHeader = 16 << 10
)

// ErrNotPublic is the error of a connection to an address that is not one of the
// internet.
var ErrNotPublic = errors.New("the host's address is not a public one")

// ErrBadLogo is the error of an answer that is not a logo. What it wraps says why.
var ErrBadLogo = errors.New("the answer is not a logo")

// downloader fetches logos. It follows no redirects, and sends neither cookies nor a
// Referer.
//
// It checks each address to which it connects, after the host's name is resolved, so
// that a name cannot lead into the operator's network. It cannot do so if a proxy makes
// the connection, as HTTPS_PROXY may ask for: then the list of hosts and the proxy's own
// rules have to do. It honours the proxy all the same, like the calls to the auth server,
// since a network with one seldom has another way out.
type downloader struct {
	destinations *destinations
	proxy        func(*http.Request) (*url.URL, error)
	direct       *http.Transport
	proxied      *http.Transport
}

func newDownloader(d *destinations) *downloader {
	transport := &http.Transport{
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        maxDownloads,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    downloadTimeout,
		ResponseHeaderTimeout:  downloadTimeout,
		MaxResponseHeaderBytes: maxLogoHeader,
		DisableCompression:     true, // or else the limit would have to deal with gzip bombs
	}
	l := &downloader{destinations: d, proxy: http.ProxyFromEnvironment, direct: transport, proxied: transport.Clone()}
	l.direct.DialContext = l.dial
	l.proxied.Proxy = func(req *http.Request) (*url.URL, error) { return l.proxy(req) }
	return l
}

// dial connects to a public address, or to an auth server on this machine.
func (l *downloader) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	allowed := isPublic
	if l.destinations.isOwn(hostPort) {
		allowed = func(addr netip.Addr) bool { return addr.Unmap().IsLoopback() }
	}
	dialer := net.Dialer{Timeout: downloadTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		if target, err := netip.ParseAddrPort(address); err != nil || !allowed(target.Addr()) {
			return ErrNotPublic
		}
		return nil
	}}
	return dialer.DialContext(ctx, network, hostPort)
}

// fetch fetches a logo once. Nothing of the answer is in its errors.
func (l *downloader) fetch(ctx context.Context, address string) (image, error) {
	if !l.destinations.permits(address) {
		return image{}, ErrNoLogo
	}
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return image{}, ErrNoLogo
	}
	req.Header.Set("Accept", "image/svg+xml, image/png, image/webp, image/jpeg, image/gif")
	req.Header.Set("User-Agent", "caddy-truelayer")
	transport := l.direct
	if proxy, err := l.proxy(req); proxy != nil || err != nil {
		transport = l.proxied
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		transport.CloseIdleConnections() // one of them may have been dropped without a word
		return image{}, fmt.Errorf("fetching a logo: %w", authserver.WithoutAnswerText(err))
	}
	defer resp.Body.Close()
	return readLogo(resp)
}

// readLogo reads an answer that has to be a logo.
func readLogo(resp *http.Response) (image, error) {
	if resp.StatusCode != http.StatusOK {
		return image{}, fmt.Errorf("%w: status %d", ErrBadLogo, resp.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxLogo+1))
	if err != nil {
		return image{}, fmt.Errorf("reading a logo: %w", authserver.WithoutAnswerText(err))
	}
	if len(content) > maxLogo {
		return image{}, fmt.Errorf("%w: it is larger than %d bytes", ErrBadLogo, maxLogo)
	}
	mediaType := mediaTypeOf(content, resp.Header.Get("Content-Type"))
	if mediaType == "" {
		return image{}, fmt.Errorf("%w: it is no image of a type that is served", ErrBadLogo)
	}
	return image{bytes.Clone(content), mediaType}, nil // without the room that reading took
}

// closeIdle closes the connections that no download is using.
func (l *downloader) closeIdle() {
	l.direct.CloseIdleConnections()
	l.proxied.CloseIdleConnections()
}
