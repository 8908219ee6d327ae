package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// provider stands for TrueLayer. It agrees to every login, and gives a token for every code
// and every refresh token. Unlike the simulator it remembers nothing, so that it
// has room for the tokens of millions.
type provider struct {
	url   string
	token time.Duration // how long a token lasts
	// delay is how long a token request takes, in nanoseconds.
	delay atomic.Int64

	exchanges, refreshes atomic.Int64
}

func startProvider(token time.Duration) (p *provider, end func()) {
	p = &provider{token: token}
	server := httptest.NewServer(p)
	p.url = server.URL
	return p, server.Close
}

// ServeHTTP implements http.Handler. It is the token endpoint.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/connect/token" {
		http.NotFound(w, r)
		return
	}
	refresh := r.FormValue("refresh_token")
	if refresh == "" {
		refresh = fmt.Sprintf("connection-%016d", p.exchanges.Add(1))
	} else {
		p.refreshes.Add(1)
	}
	if !flight.Sleep(r.Context(), time.Duration(p.delay.Load())) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":%d,"token_type":"Bearer","refresh_token":%q}`,
		accessToken(refresh), int(p.token.Seconds()), refresh)
}

// accessToken is about as long as TrueLayer's, 1,480 bytes, and says as much as the module
// reads.
func accessToken(connection string) string {
	claims := fmt.Sprintf(`{"sub":%q,"connector_id":"mock","padding":%q}`, connection, strings.Repeat("p", 750))
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode([]byte(claims)) + "." + strings.Repeat("s", 342)
}

// grant agrees to what an auth link asks for.
func (p *provider) grant(authLink string) (callback string, err error) {
	link, err := url.Parse(authLink)
	if err != nil {
		return "", err
	}
	asked := link.Query()
	return asked.Get("redirect_uri") + "?" + url.Values{"code": {"code"}, "state": {asked.Get("state")}}.Encode(), nil
}

// label is the one of the nodes' blocks.
func (p *provider) label() session.Label { return session.NewLabel(p.url, clientID, scopes, "") }
