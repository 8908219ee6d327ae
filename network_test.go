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

// networkShare is how many exchanges of one network are under way at once.
const networkShare = 8

// TestOneNetworkCannotTakeAllExchanges: its further callbacks wait for their
// turn while others are served (CVE-2024-21500, where there was no limit).
func TestOneNetworkCannotTakeAllExchanges(t *testing.T) {
	b := newBench(t, nil)
	type callback struct {
		visitor
		url string
	}
	callbacks := make([]callback, networkShare+3)
	for i := range callbacks {
		v := visitor{}
		callbacks[i] = callback{v, v.depart(t, b, "/page")}
	}
	hold := make(chan struct{})
	b.sim.Fail(simulator.Token, simulator.Fault{Times: networkShare, Hold: hold})
	var wg sync.WaitGroup
	for _, c := range callbacks[:networkShare] {
		wg.Go(func() {
			if a := c.from(t, b, "2001:db8::1", c.url); a.Code != http.StatusSeeOther {
				t.Errorf("one of those within the share: %d", a.Code)
			}
		})
	}
	for b.sim.Calls(simulator.Token) < networkShare {
		if t.Failed() {
			break
		}
	}
	// one more of the same network waits for its turn; another network does not
	more, waited := callbacks[networkShare], make(chan int, 1)
	go func() { waited <- more.from(t, b, "2001:db8::2", more.url).Code }()
	other := callbacks[networkShare+1]
	if a := other.from(t, b, "2001:db8:0:1::1", other.url); a.Code != http.StatusSeeOther {
		t.Errorf("one of another network: %d", a.Code)
	}
	select {
	case code := <-waited:
		t.Errorf("one more of the same network did not wait: %d", code)
		waited <- code
	default:
	}
	close(hold)
	wg.Wait()
	if code := <-waited; code != http.StatusSeeOther {
		t.Errorf("the one that waited: %d", code)
	}
}
