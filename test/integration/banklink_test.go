package integration

import (
	"context"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestConsentRefusals: each way in which TrueLayer gives no link is a page with one next
// step, and with fallback_dialog the way to its dialog, at the same bank.
func TestConsentRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		fault  simulator.Fault
		status int
		reason string
		result string
	}{
		"refused":         {simulator.Fault{Status: 400}, http.StatusBadGateway, "bank_link_refused", "invalid_request"},
		"not approved":    {simulator.Fault{Status: 401, ContentType: "application/json", Body: `{"error":"unauthorized_client"}`}, http.StatusBadGateway, "bank_link_refused", "unauthorized_client"},
		"too many":        {simulator.Fault{Status: 429, Header: http.Header{"Retry-After": {"1"}}}, http.StatusTooManyRequests, "too_many_consents", "rate_limited"},
		"an error":        {simulator.Fault{Status: 500}, http.StatusBadGateway, "bank_link_unavailable", "server_error"},
		"a page":          {simulator.Fault{Status: 403, ContentType: "text/html", Body: "<html>"}, http.StatusBadGateway, "bank_link_unavailable", "unusable_answer"},
		"no success":      {simulator.Fault{Status: 200, ContentType: "application/json", Body: `{"result":"https://bank.example/","success":false}`}, http.StatusBadGateway, "bank_link_unavailable", "unusable_answer"},
		"another address": {simulator.Fault{Status: 200, ContentType: "application/json", Body: `{"result":"javascript:alert(1)","success":true}`}, http.StatusBadGateway, "bank_link_unavailable", "unusable_answer"},
		"no answer":       {simulator.Fault{DropBefore: true}, http.StatusBadGateway, "bank_link_unavailable", "no_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fallback := range []string{"", "fallback_dialog"} {
				w := startConsent(t, fallback)
				b := w.browser()
				_, form := w.consentForm(t, b, consentOfMock)
				test.fault.Times = 1
				w.sim.Fail(simulator.AuthURI, test.fault)
				var a *answer
				w.counts(t, "the request", []string{"bank_link"}, map[string]float64{"bank_link_requests_total{result=" + test.result + "}": 1}, func() { a = w.consent(t, b, form) })
				if !strings.Contains(w.log.text(t), `"reason":"`+test.reason+`"`) {
					t.Error("the log does not say why")
				}
				if fallback != "" {
					link, err := url.Parse(a.location())
					if err != nil || !strings.HasPrefix(a.location(), w.AuthServer+"/?") || link.Query().Get("provider_id") != "mock" {
						t.Errorf("with fallback_dialog: %d %s", a.StatusCode, a.location())
					}
					continue
				}
				if a.StatusCode != test.status || !strings.Contains(a.body, test.reason) || !strings.Contains(a.body, `value="Ada Byron-Lovelace"`) {
					t.Errorf("%d %s", a.StatusCode, a.body)
				}
				form.Set("token", html.UnescapeString(tokenField.FindStringSubmatch(a.body)[1]))
				if test.status != http.StatusTooManyRequests {
					equal(t, "once more", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
				}
				if strings.Contains(w.log.text(t), "bank.example") {
					t.Error("the log has TrueLayer's answer")
				}
			}
		})
	}
}

// TestConsentTwice: a form that is sent again while TrueLayer is asked joins, also when its
// first browser window has gone. Both get the same link, and either can come back.
func TestConsentTwice(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	hold := make(chan struct{})
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Hold: hold})
	const n = 10
	answers := make(chan *answer, n)
	for range n {
		go func() {
			a, err := b.post(w.Site+consentOfMock, form)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	awaitWaiting(t, n)
	close(hold)
	locations := make(map[string]bool)
	for range n {
		a := <-answers
		locations[a.location()] = true
	}
	if len(locations) != 1 || w.sim.Calls(simulator.AuthURI) != 1 {
		t.Errorf("%v, %d links", locations, w.sim.Calls(simulator.AuthURI))
	}
	equal(t, "consents", strings.Count(fmt.Sprint(w.events()), "consent_given"), 1)
	for location := range locations {
		callback, err := w.sim.GrantDirect(location)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "then", b.navigate(callback).location(), "/page?a=b")
	}
	// after that the same form begins another login, with a consent of its own
	b.do(http.MethodPost, w.Site+"/truelayer/logout", "Origin", w.Site, "Sec-Fetch-Site", "same-origin")
	equal(t, "again", w.consent(t, b, form).StatusCode, http.StatusSeeOther)
	if trail := w.trail(); trail[0]["consent_id"] == trail[len(trail)-1]["consent_id"] {
		t.Errorf("two consents have one id: %v", trail)
	}
}

// TestConsentFlood: a network asks TrueLayer for at most thirty links in a minute, and four
// at once; others go on; and nothing is left behind.
func TestConsentFlood(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Global = "servers {\ntrusted_proxies static private_ranges\n}"
		w.Options = everyBank + "bank_picker" + consentOptions("")
	})
	const n = 100
	from := func(network string) []string { return []string{"X-Forwarded-For", network} }
	before := w.series()["memory_records"]
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for range n {
		wg.Go(func() {
			b := w.browser()
			_, form := w.consentForm(t, b, consentOfMock)
			a := w.consent(t, b, form, from("2001:db8::1")...)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.StatusCode]++
			if a.StatusCode == http.StatusTooManyRequests && (a.Header.Get("Retry-After") == "" || a.Header.Get("Refresh") != "") {
				t.Errorf("%v", a.Header)
			}
		})
	}
	wg.Wait()
	if statuses[http.StatusSeeOther] != 30 || statuses[http.StatusTooManyRequests] != n-30 || w.sim.Calls(simulator.AuthURI) != 30 {
		t.Errorf("%v, %d links", statuses, w.sim.Calls(simulator.AuthURI))
	}
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	equal(t, "another network", w.consent(t, b, form, from("2001:db8:1::1")...).StatusCode, http.StatusSeeOther)
	equal(t, "records", w.series()["memory_records"], before)
}

// TestConsentPause: what TrueLayer asks for is kept, for the network that it was asked for.
func TestConsentPause(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Global = "servers {\ntrusted_proxies static private_ranges\n}"
		w.Options = everyBank + "bank_picker" + consentOptions("")
	})
	ask := func(network string) *answer {
		b := w.browser()
		_, form := w.consentForm(t, b, consentOfMock)
		return w.consent(t, b, form, "X-Forwarded-For", network)
	}
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	for range 3 {
		a := ask("2001:db8::1")
		equal(t, "status", a.StatusCode, http.StatusTooManyRequests)
		if retry := a.Header.Get("Retry-After"); retry != "60" && retry != "59" {
			t.Errorf("Retry-After %q", retry)
		}
	}
	equal(t, "links", w.sim.Calls(simulator.AuthURI), 1)
	equal(t, "another network", ask("2001:db8:1::1").StatusCode, http.StatusSeeOther)
}

// TestConsentOfThoseWhoGo: who closes the window leaves a request that ends by itself.
func TestConsentOfThoseWhoGo(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	hold := make(chan struct{})
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Hold: hold})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		leaving := *b
		leaving.client = &http.Client{Jar: b.client.Jar, Transport: closing{ctx}}
		_, err := leaving.post(w.Site+consentOfMock, form)
		gone <- err
	}()
	waitUntil(t, "the request", func() bool { return w.sim.Calls(simulator.AuthURI) == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(hold)
	waitUntil(t, "its end", func() bool { return w.series()["bank_link_requests_total{result=ok}"] == 1 })
	equal(t, "failures", strings.Count(w.log.text(t), `"reason":"bank_link`), 0)
}

// closing is a network of a window that is closed when ctx ends.
type closing struct{ ctx context.Context }

func (c closing) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r.WithContext(c.ctx))
}

// TestCorrectedConsent: a form that was corrected while the first one is under way is another
// one, and repetitions of one form take one slot of the browser's logins.
func TestCorrectedConsent(t *testing.T) {
	w := startConsent(t, "")
	b := w.browser()
	_, form := w.consentForm(t, b, consentOfMock)
	hold := make(chan struct{})
	w.sim.Fail(simulator.AuthURI, simulator.Fault{Times: 1, Hold: hold})
	first := make(chan *answer, 2)
	for range cap(first) {
		go func() {
			a, err := b.post(w.Site+consentOfMock, form)
			if err != nil {
				t.Error(err)
			}
			first <- a
		}()
	}
	awaitWaiting(t, 2)
	corrected := maps.Clone(form)
	corrected.Set("name", "Ada Byron")
	w.secrets.add("Ada Byron")
	equal(t, "status", w.consent(t, w.browserLike(b), corrected).StatusCode, http.StatusSeeOther)
	equal(t, "name", w.sim.LastAuthURIRequest().User.Name, "Ada Byron")
	close(hold)
	one, two := <-first, <-first
	var cookies []string
	for _, a := range []*answer{one, two} {
		for _, c := range a.Cookies() {
			if strings.Contains(c.Name, "-login-") && c.MaxAge > 0 {
				cookies = append(cookies, c.Name)
			}
		}
	}
	if slices.Sort(cookies); len(slices.Compact(cookies)) != 1 {
		t.Errorf("one login takes the slots %q", cookies)
	}
}

// browserLike is a browser with the cookies of another by now.
func (w *world) browserLike(b *browser) *browser {
	w.t.Helper()
	other := w.browser()
	site, err := url.Parse(w.Site)
	if err != nil {
		w.t.Fatal(err)
	}
	other.client.Jar.SetCookies(site, b.client.Jar.Cookies(site))
	return other
}
