package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestCallbackTwice: of a parameter that comes twice two readers would take
// different ones (RFC 6749 section 3.1), so none is taken, in either order.
func TestCallbackTwice(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	state := query(t, callback).Get("state")
	right, evil := "&iss="+url.QueryEscape(w.AuthServer), "&iss="+url.QueryEscape("https://evil.example.com")
	declined := w.Site + "/truelayer?error=server_error&state=" + state
	for name, target := range map[string]string{
		"iss":                                callback + right + evil,
		"iss, the other way round":           callback + evil + right,
		"iss, the same twice":                callback + right + right,
		"iss, once empty":                    callback + right + "&iss=",
		"iss with an error":                  declined + right + evil,
		"iss with an error, the other way":   declined + evil + right,
		"error":                              declined + "&error=access_denied",
		"error, once empty":                  declined + "&error=",
		"error_description":                  declined + "&error_description=ours&error_description=evil",
		"error_description, once empty":      declined + "&error_description=&error_description=evil",
		"error_description beside a code":    callback + "&error_description=ours&error_description=evil",
		"code":                               callback + "&code=evil",
		"code, once empty":                   callback + "&code=",
		"state":                              callback + "&state=" + strings.Repeat("A", 43),
		"state, escaped":                     callback + "&%73tate=" + state,
		"all of them, as an array would be":  callback + "&" + query(t, callback).Encode(),
		"iss behind a parameter of its name": callback + right + "&x=y&iss=" + url.QueryEscape(w.AuthServer),
	} {
		w.refusesCallback(t, b, name, target, "callback_malformed")
	}
	equal(t, "the login under way", b.navigate(callback+right).location(), "/page")
}

// refusesCallback opens a callback that is refused for a reason before anything
// is exchanged, and that leaves the browser's logins alone.
func (w *world) refusesCallback(t *testing.T, b *browser, name, target, reason string) {
	t.Helper()
	exchanges := w.sim.Calls("token")
	a := b.fetch(target)
	equal(t, name+": status", a.StatusCode, http.StatusBadRequest)
	equal(t, name+": cookies", len(a.Header.Values("Set-Cookie")), 0)
	equal(t, name+": exchanges", w.sim.Calls("token"), exchanges)
	if a.StatusCode == http.StatusBadRequest {
		equal(t, name+": reason", a.problem(t)["reason"], any(reason))
	}
}

// TestCallbackLengths: what is longer than any auth server's codes and states
// does not get as far as the token endpoint, nor to the cookies.
func TestCallbackLengths(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	code, state := query(t, callback).Get("code"), query(t, callback).Get("state")
	with := func(code, state string) string {
		return w.Site + "/truelayer?" + url.Values{"code": {code}, "state": {state}}.Encode()
	}
	long := func(start string, length int) string { return start + strings.Repeat("c", length-len(start)) }
	w.refusesCallback(t, b, "a code of 1025", with(long(code, 1025), state), "callback_malformed")
	w.refusesCallback(t, b, "a code of 4000", with(long(code, 4000), state), "callback_malformed")
	w.refusesCallback(t, b, "a state of 1025", with(code, long(state, 1025)), "callback_malformed")
	w.refusesCallback(t, b, "a state of 1024", with(code, long(state, 1024)), "login_lost")
	w.refusesCallback(t, b, "an error's state of 1025",
		w.Site+"/truelayer?error=server_error&state="+long(state, 1025), "callback_malformed")
	w.refusesCallback(t, b, "DEL in a code", with(code+"\x7f", state), "callback_malformed")
	equal(t, "the login under way", b.navigate(callback).location(), "/page")

	// up to there it is the auth server's to say
	b = w.browser()
	exchanges := w.sim.Calls("token")
	a := b.fetch(with(long("", 1024), query(t, w.approve(b, w.Site+"/page")).Get("state")))
	equal(t, "a code of 1024", a.StatusCode, http.StatusBadGateway)
	equal(t, "exchanges", w.sim.Calls("token"), exchanges+1)
}

// hostileTexts are values that must be no more than a text to anybody who
// reads, writes or shows them.
var hostileTexts = map[string]string{
	"NUL":              "a%00b",
	"NUL inside":       "access_denied%00evil",
	"CRLF":             "a%0d%0aSet-Cookie:+evil=1%0d%0aX-Evil:+1",
	"two line breaks":  "a%0d%0a%0d%0a%3Cb%3Eevil",
	"bare line breaks": "a%0aX-Evil:+1%0dX-Evil:+2",
	"not UTF-8":        "a%ff%fe%c0%af%ed%a0%80",
	"half a letter":    "a%c3",
	"controls":         "%1b%5b2J%08%7f%c2%85%e2%80%a8",
	"right to left":    "%e2%80%aelive",
	"markup":           "%22%3E%3C/q%3E%3Cscript%3Ealert(1)%3C/script%3E",
	"oversized":        strings.Repeat("evil", 900),
	"letters of four":  strings.Repeat("%F0%9F%92%A9", 250),
}

// TestCallbackIssuerText: none of them is our issuer.
func TestCallbackIssuerText(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	ours := "&iss=" + url.QueryEscape(w.AuthServer)
	for name, text := range hostileTexts {
		w.refusesCallback(t, b, name, callback+"&iss="+text, "issuer_mismatch")
		w.refusesCallback(t, b, name+" behind ours", callback+ours+text, "issuer_mismatch")
	}
	w.refusesCallback(t, b, "beyond the query", callback+"&iss="+strings.Repeat("x", 9000), "callback_malformed")
	equal(t, "the login under way", b.navigate(callback+ours).location(), "/page")
}

// TestCallbackErrorText: what an auth server says, or who sends its answer, is
// a short text on the page of the browser that began that login, and nothing
// else. Another tab's login goes on.
func TestCallbackErrorText(t *testing.T) {
	w := start(t, plain, nil)
	b := w.browser()
	other := w.approve(b, w.Site+"/page")
	for name, text := range hostileTexts {
		for _, parameters := range []string{"error=" + text, "error=" + text + "&error_description=" + text, "error=access_denied&error_description=" + text} {
			target := w.Site + "/truelayer?" + parameters
			want := http.StatusBadGateway
			if strings.HasPrefix(parameters, "error=access_denied&") {
				want = http.StatusForbidden
			}
			foreign := w.browser().navigate(target + "&state=" + strings.Repeat("A", 43))
			equal(t, name+", no login's: status", foreign.StatusCode, want)
			equal(t, name+", no login's: shown", strings.Contains(foreign.body, `class="provider"`), false)

			state := query(t, b.navigate(w.Site+"/page").location()).Get("state")
			page := b.navigate(target + "&state=" + state)
			equal(t, name+": status", page.StatusCode, want)
			equal(t, name+": shown", strings.Contains(page.body, `class="provider"`), true)
			w.isOnlyText(t, name, page)

			state = query(t, b.navigate(w.Site+"/page").location()).Get("state")
			answer := b.fetch(target + "&state=" + state)
			equal(t, name+", for a script: status", answer.StatusCode, want)
			said, _ := answer.problem(t)["provider_error"].(string)
			if n := utf8.RuneCountInString(said); n == 0 || n > 201 {
				t.Errorf("%s, for a script: %d letters: %q", name, n, said)
			}
			w.isOnlyText(t, name+", for a script", answer)
		}
	}
	equal(t, "exchanges", w.sim.Calls("token"), 0)
	equal(t, "the other tab's login", b.navigate(other).location(), "/page")
}

// isOnlyText: nothing in an answer that has a hostile text in it is a header
// field, markup, or half a letter, and the text is cut.
func (w *world) isOnlyText(t *testing.T, name string, a *answer) {
	t.Helper()
	if !utf8.ValidString(a.body) || strings.ContainsAny(a.body, "\x00\x1b\u202e") {
		t.Errorf("%s: in the body: %q", name, a.body)
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "<b>") || strings.Count(a.body, "evil") > 60 || strings.Count(a.body, "💩") > 200 {
		t.Errorf("%s: in the body: %s", name, a.body)
	}
	for _, c := range a.Cookies() {
		if c.Value != "" || !strings.Contains(c.Name, "-login-") {
			t.Errorf("%s: Set-Cookie: %v", name, c)
		}
	}
	for field, values := range a.Header {
		if field == "X-Evil" || strings.Contains(strings.Join(values, ""), "evil") {
			t.Errorf("%s: %s: %q", name, field, values)
		}
	}
}
