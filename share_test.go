package truelayer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func TestClientNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":        "192.0.2.1/32",
		"::ffff:192.0.2.1": "192.0.2.1/32",
		"2001:db8::1":      "2001:db8::/64",
		"2001:db8::2:3":    "2001:db8::/64",
		"fe80::1%eth0":     "fe80::/64",
		"nonsense":         "invalid Prefix",
		"":                 "invalid Prefix",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, address)
		if got := clientNetwork(r).String(); got != want {
			t.Errorf("%q is %s, want %s", address, got, want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.7:1234"
	if got := clientNetwork(r).String(); got != "192.0.2.7/32" {
		t.Errorf("without Caddy's own word it is %s", got)
	}
}

// from sends the visitor's next callback from an address.
func (v visitor) from(t *testing.T, b *bench, address, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, target, nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	for name, value := range v {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, address)
	if err := b.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })); err != nil {
		t.Error(err)
	}
	return w
}

// TestOneNetworkCannotTakeAllExchanges: its further callbacks are told to come
// again, with their codes unspent, while others are served.
func TestOneNetworkCannotTakeAllExchanges(t *testing.T) {
	b := newBench(t, nil)
	type callback struct {
		visitor
		url string
	}
	callbacks := make([]callback, maxClientExchanges+3)
	for i := range callbacks {
		v := visitor{}
		callbacks[i] = callback{v, v.depart(t, b, "/page")}
	}
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: maxClientExchanges, Hold: hold})
	var wg sync.WaitGroup
	for _, c := range callbacks[:maxClientExchanges] {
		wg.Go(func() {
			if a := c.from(t, b, "2001:db8::1", c.url); a.Code != http.StatusSeeOther {
				t.Errorf("one of those within the share: %d", a.Code)
			}
		})
	}
	for b.sim.Calls(simulator.Token) < maxClientExchanges {
		if t.Failed() {
			break
		}
	}
	more := callbacks[maxClientExchanges]
	a := more.from(t, b, "2001:db8::2", more.url)
	if a.Code != http.StatusTooManyRequests || a.Header().Get("Retry-After") != "2" || a.Header().Get("Refresh") != "2" {
		t.Errorf("one more of the same network: %d %v", a.Code, a.Header())
	}
	other := callbacks[maxClientExchanges+1]
	if a := other.from(t, b, "2001:db8:0:1::1", other.url); a.Code != http.StatusSeeOther {
		t.Errorf("one of another network: %d", a.Code)
	}
	close(hold)
	wg.Wait()
	if a := more.from(t, b, "2001:db8::2", more.url); a.Code != http.StatusSeeOther {
		t.Errorf("the one that was told to come again: %d", a.Code)
	}
	if n := len(b.auth.clients.taken); n != 0 {
		t.Errorf("%d networks are remembered for nothing", n)
	}
}
