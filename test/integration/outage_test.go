package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/loopback"
	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// flood sends n callbacks, each of a login of its own, from addresses as a trusted
// proxy tells them, and returns how often each status came.
func (w *world) flood(n int, code func(i int) string, address func(i int) string) map[int]int {
	w.t.Helper()
	statuses := make(map[int]int)
	line := &wire{w: w}
	defer line.hangUp()
	for i := range n {
		sent := w.exchange("GET /page HTTP/1.1\r\nHost: localhost\r\n" + rawNavigation + "\r\n")
		cookie, _, _ := strings.Cut(sent.Header.Get("Set-Cookie"), ";")
		state := query(w.t, sent.location()).Get("state")
		status, _ := line.ask("GET /truelayer?code=" + code(i) + "&state=" + state + " HTTP/1.1\r\nHost: localhost\r\n" + rawNavigation +
			"Cookie: " + cookie + "\r\nX-Forwarded-For: " + address(i) + "\r\n\r\n")
		statuses[status]++
	}
	return statuses
}

// loginFrom logs a new visitor in from an address.
func (w *world) loginFrom(t *testing.T, address string) *answer {
	t.Helper()
	b := w.browser()
	return b.do(http.MethodGet, w.approve(b, w.Site+"/page"), append([]string{"X-Forwarded-For", address}, asNavigation...)...)
}

func one(address string) func(int) string { return func(int) string { return address } }

// manyNetworks are as many networks as there are requests.
func manyNetworks(i int) string { return fmt.Sprintf("2001:db8:%x::1", i) }

func inventedCode(int) string { return invented() }

func startSmall(t *testing.T, set func(*world)) *world {
	t.Helper()
	return start(t, plain, func(w *world) {
		w.Global = "servers {\n\t\ttrusted_proxies static 127.0.0.0/8 ::1/128\n\t}"
		w.Options = "store memory {\n\t\tmax_sessions 20\n\t}"
		if set != nil {
			set(w)
		}
	})
}

// TestOutageDoesNotCloseLogins: whatever the token endpoint does, callbacks during
// its outage take no session's place, and when it is back people can log in at
// once, from other networks than those of a flood in any case.
func TestOutageDoesNotCloseLogins(t *testing.T) {
	for name, test := range map[string]struct {
		fault   simulator.Fault
		address func(int) string
		want    map[int]bool
	}{
		"errors, one network":     {simulator.Fault{Status: 503}, one("2001:db8::1"), map[int]bool{502: true, 429: true}},
		"errors, many networks":   {simulator.Fault{Status: 500}, manyNetworks, map[int]bool{502: true}},
		"hanging up, one network": {simulator.Fault{DropBefore: true}, one("2001:db8::1"), map[int]bool{502: true, 429: true}},
		"hanging up, many":        {simulator.Fault{DropAfter: true}, manyNetworks, map[int]bool{502: true}},
		"refusals, one network":   {simulator.Fault{Status: 400}, one("2001:db8::1"), map[int]bool{502: true, 429: true}},
		"refusals, many networks": {simulator.Fault{Status: 400}, manyNetworks, map[int]bool{502: true}},
		"no success, one network": {simulator.Fault{Status: 200, Body: "{}"}, one("2001:db8::1"), map[int]bool{502: true, 429: true}},
		"no success, many":        {simulator.Fault{Status: 200, Body: "{}"}, manyNetworks, map[int]bool{502: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := startSmall(t, nil)
			w.sim.Fail(simulator.Token, test.fault)
			for status, n := range w.flood(300, inventedCode, test.address) {
				if !test.want[status] {
					t.Errorf("%d answers of status %d", n, status)
				}
			}
			w.sim.ClearFaults()
			for i := range 20 {
				a := w.loginFrom(t, fmt.Sprintf("192.0.2.%d", i))
				if a.location() != "/page" {
					t.Fatalf("login %d: %d %s", i, a.StatusCode, a.body)
				}
			}
			equal(t, "one more than there is room for", w.loginFrom(t, "192.0.2.99").StatusCode, http.StatusServiceUnavailable)
		})
	}
}

// TestWhatAnOutageLeaves: below its share a network logs in at once when the token
// endpoint is back, and nothing stays of refused codes, also where records are files.
func TestWhatAnOutageLeaves(t *testing.T) {
	for name, test := range map[string]struct {
		status, claims int
	}{
		"errors": {http.StatusInternalServerError, 100}, "away": {http.StatusServiceUnavailable, 100}, "refusals": {http.StatusBadRequest, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := startSmall(t, func(w *world) { w.Options = "store storage" })
			w.sim.Fail(simulator.Token, simulator.Fault{Status: test.status})
			w.flood(100, inventedCode, one("2001:db8::1"))
			w.sim.ClearFaults()
			kinds := w.storedKinds()
			if kinds['c'] != test.claims || len(kinds) > 1 {
				t.Errorf("records by kind: %v, want %d claims and nothing else", kinds, test.claims)
			}
			equal(t, "another network", w.loginFrom(t, "192.0.2.1").location(), "/page")
			want := "/page"
			if test.claims == 0 {
				want = "" // it has used up its budget
			}
			equal(t, "the flood's network", w.loginFrom(t, "2001:db8::1").location(), want)
		})
	}
}

// storedKinds counts the records in Caddy's storage by their kind.
func (w *world) storedKinds() map[byte]int {
	w.t.Helper()
	kinds, data := make(map[byte]int), os.DirFS(w.Data)
	err := fs.WalkDir(data, "truelayer/sessions", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(data, name)
		if err == nil {
			kinds[text[recordKind]]++
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return kinds
}

// TestUnreachableTokenEndpoint: nothing is kept of logins whose codes cannot have
// got there, so that the visitors' own callbacks work when it is back.
func TestUnreachableTokenEndpoint(t *testing.T) {
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	w := startSmall(t, func(w *world) { w.AuthServer = "http://" + address })
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	equal(t, "away", b.navigate(callback).StatusCode, http.StatusBadGateway)
	statuses := w.flood(300, inventedCode, one("2001:db8::1"))
	equal(t, "a flood's answers of 502", statuses[http.StatusBadGateway], 300)

	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w.sim} //nolint:gosec // of this test
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	equal(t, "the same callback again", b.navigate(callback).location(), "/page")
	equal(t, "another visitor of the flood's network", w.loginFrom(t, "2001:db8::1").location(), "/page")
}

// TestBudgetOfRefusedCodes: who makes codes up sends some to the token endpoint,
// and then no more for a while. Other networks are not hindered, nor is one from
// which many people log in.
func TestBudgetOfRefusedCodes(t *testing.T) {
	w := startSmall(t, func(w *world) { w.Options = "" })
	for i := range 40 {
		if a := w.loginFrom(t, "198.51.100.1"); a.location() != "/page" {
			t.Fatalf("login %d of an office: %d %s", i, a.StatusCode, a.body)
		}
	}
	before := w.sim.Calls(simulator.Token)
	statuses := w.flood(100, inventedCode, func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }) // one /64
	equal(t, "token requests", w.sim.Calls(simulator.Token)-before, refusals)
	equal(t, "refused", statuses[http.StatusBadGateway], refusals)
	equal(t, "not sent", statuses[http.StatusTooManyRequests], 100-refusals)
	equal(t, "another network", w.loginFrom(t, "2001:db8:0:1::1").location(), "/page")
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	a := b.do(http.MethodGet, callback, append([]string{"X-Forwarded-For", "2001:db8::1"}, asNavigation...)...)
	equal(t, "a visitor of that network", a.StatusCode, http.StatusTooManyRequests)
	if a.Header.Get("Retry-After") == "" || a.Header.Get("Refresh") != a.Header.Get("Retry-After") {
		t.Errorf("the page does not come again: %v", a.Header)
	}
	equal(t, "the same callback from elsewhere", b.navigate(callback).location(), "/page")
}

// TestBudgetOfCodesAtOnce: codes that wait for their turn while others of their
// network are refused are not sent when it comes.
func TestBudgetOfCodesAtOnce(t *testing.T) {
	const most = refusals + eachNetwork // a minute's refusals, and those under way by then
	w := startSmall(t, func(w *world) { w.Options = "" })
	hold, statuses := make(chan struct{}), make(chan int, 200)
	w.sim.Fail(simulator.Token, simulator.Fault{Status: http.StatusBadRequest, Hold: hold})
	for range cap(statuses) {
		b := w.browser()
		callback := w.approve(b, w.Site+"/page")
		go func() {
			a, err := b.try(w.t.Context(), http.MethodGet, callback, append([]string{"X-Forwarded-For", "2001:db8::1"}, asNavigation...)...)
			if err != nil {
				statuses <- 0
				return
			}
			statuses <- a.StatusCode
		}()
	}
	waitUntil(t, "a network's exchanges", func() bool { return w.sim.Calls(simulator.Token) == eachNetwork })
	close(hold)
	got := make(map[int]int)
	for range cap(statuses) {
		got[<-statuses]++
	}
	if n := w.sim.Calls(simulator.Token); n > most || got[http.StatusBadGateway] != n || got[http.StatusTooManyRequests] != cap(statuses)-n {
		t.Errorf("%d token requests, at most %d expected; answers %v", n, most, got)
	}
}

// TestTooManyRequests: a 429 of the token endpoint has not used the code. It is
// sent again in the same request.
func TestTooManyRequests(t *testing.T) {
	for name, header := range map[string]http.Header{"with a time": {"Retry-After": {"1"}}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, nil)
			b := w.browser()
			callback := w.approve(b, w.Site+"/page")
			w.sim.Fail(simulator.Token, simulator.Fault{Times: 2, Status: http.StatusTooManyRequests, Header: header})
			equal(t, "callback", b.navigate(callback).location(), "/page")
			equal(t, "token requests", w.sim.Calls(simulator.Token), 3)
			equal(t, "page", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
		})
	}
}

// TestLinesSayWhere: a line about a callback that failed names the host and the
// path that it came to, without its query, and a flood does not fill the log.
func TestLinesSayWhere(t *testing.T) {
	w := start(t, everyHost, nil)
	for range 1000 {
		a := w.exchange("GET /truelayer?iss=x&code=a-code&state=a-state HTTP/1.1\r\nHost: other.example\r\n" + rawNavigation + "\r\n")
		equal(t, "status", a.StatusCode, http.StatusBadRequest)
	}
	log := diagnostics(w.log.text(t))
	lines := 0
	for line := range strings.SplitSeq(log, "\n") {
		if !strings.Contains(line, `"reason":"issuer_mismatch"`) {
			continue
		}
		lines++
		if !strings.Contains(line, `"host":"other.example","path":"/truelayer"`) || strings.Contains(line, "a-code") || strings.Contains(line, "a-state") {
			t.Errorf("the line is %s", line)
		}
	}
	if lines < 1 || lines > 50 {
		t.Errorf("%d lines about it", lines)
	}
}

// TestLinesGoWhereTheyMay: a log gets no line that its level or its filter keeps
// out, also of lines that are sampled.
func TestLinesGoWhereTheyMay(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Global = "log errors {\n\t\tlevel ERROR\n\t\toutput file " + w.Data + "/errors.log\n\t}\n" +
			"\tlog others {\n\t\texclude http.handlers.truelayer\n\t\toutput file " + w.Data + "/others.log\n\t}"
	})
	since := w.log.mark(t)
	equal(t, "status", w.browser().navigate(w.Site+"/truelayer?iss=x&code=a&state=b").StatusCode, http.StatusBadRequest)
	const line = `"reason":"issuer_mismatch"`
	w.oneLine(t, strings.Count(diagnostics(since()), line), line)
	for _, name := range []string{"errors.log", "others.log"} {
		text, err := fs.ReadFile(os.DirFS(w.Data), name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if strings.Contains(string(text), line) {
			t.Errorf("%s has a line that is not for it:\n%s", name, text)
		}
	}
}
