package truelayer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestClientNetwork: a client is who Caddy takes it for, and not who it says it
// is (CVE-2024-21494).
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
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, address)
		if got := clientNetwork(r).String(); got != want {
			t.Errorf("%q is %s, want %s", address, got, want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.7:1234"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
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
		r.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // as browsers send them, without attributes
	}
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, address)
	if err := b.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })); err != nil {
		t.Error(err)
	}
	return w
}

// TestOneNetworkCannotTakeAllExchanges: its further callbacks wait for their
// turn while others are served (CVE-2024-21500, where there was no limit).
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
	// one more of the same network waits for its turn; another network does not
	more, waited := callbacks[maxClientExchanges], make(chan int)
	go func() { waited <- more.from(t, b, "2001:db8::2", more.url).Code }()
	other := callbacks[maxClientExchanges+1]
	if a := other.from(t, b, "2001:db8:0:1::1", other.url); a.Code != http.StatusSeeOther {
		t.Errorf("one of another network: %d", a.Code)
	}
	select {
	case code := <-waited:
		t.Errorf("one more of the same network did not wait: %d", code)
	default:
	}
	close(hold)
	wg.Wait()
	if code := <-waited; code != http.StatusSeeOther {
		t.Errorf("the one that waited: %d", code)
	}
	if n := b.auth.clients.Len(); n != 0 {
		t.Errorf("%d networks are remembered for nothing", n)
	}
}

// TestOneNetworkCannotQueueForEver: beyond those that may wait it is told to
// come again, with the code unspent.
func TestOneNetworkCannotQueueForEver(t *testing.T) {
	b := newBench(t, nil)
	v := visitor{}
	callback := v.depart(t, b, "/page")
	network := netip.MustParsePrefix("2001:db8::/64")
	if b.auth.clients.AtMost != maxClientWaiting {
		t.Errorf("so many may wait: %d", b.auth.clients.AtMost)
	}
	b.auth.clients.AtMost = 1
	leave, err := b.auth.clients.Take(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	a := v.from(t, b, "2001:db8::2", callback)
	if a.Code != http.StatusTooManyRequests || a.Header().Get("Retry-After") != "2" || a.Header().Get("Refresh") != "2" || b.sim.Calls(simulator.Token) != 0 {
		t.Errorf("%d %v, %d exchanges", a.Code, a.Header(), b.sim.Calls(simulator.Token))
	}
	leave()
	if a := v.from(t, b, "2001:db8::2", callback); a.Code != http.StatusSeeOther {
		t.Errorf("again: %d", a.Code)
	}
}
