package authserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestUnsent: only a request that had no connection to go over is said not to have
// been sent, whichever version of HTTP it would have gone over: a code is sent
// again because of it.
func TestUnsent(t *testing.T) {
	hangUp := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		tls, http2 bool
		distrusted bool
		proxy      http.HandlerFunc
		ctx        context.Context
		away       bool
		want       bool
	}{
		"hanging up, HTTP/1.1":          {},
		"hanging up, HTTP/1.1 over TLS": {tls: true},
		"hanging up, HTTP/2":            {tls: true, http2: true},
		"nobody listens":                {away: true, want: true},
		"a certificate of nobody":       {tls: true, distrusted: true, want: true},
		"the time is over":              {ctx: over, want: true},
		"a proxy refuses":               {tls: true, proxy: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(hangUp)
			server.EnableHTTP2 = test.http2
			if test.tls {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			client := testClient(server.URL)
			transport := client.Server.http.transport.Load()
			if test.tls && !test.distrusted {
				trusted := x509.NewCertPool()
				trusted.AddCert(server.Certificate())
				transport.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
			}
			if test.proxy != nil {
				proxy := httptest.NewServer(test.proxy)
				defer proxy.Close()
				address, err := url.Parse(proxy.URL)
				if err != nil {
					t.Fatal(err)
				}
				transport.Proxy = http.ProxyURL(address)
			}
			if test.away {
				server.Close()
			}
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			_, err := client.Exchange(ctx, "code", "r", Secret{})
			answer, ok := errors.AsType[*Error](err)
			if !ok || answer.Unsent != test.want {
				t.Errorf("unsent should be %v: %#v", test.want, err)
			}
		})
	}
}
