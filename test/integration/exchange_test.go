package integration

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// TestTokenEndpointMisbehaves: whatever the token endpoint does, the visitor
// gets a calm page, no session, and nothing of it.
func TestTokenEndpointMisbehaves(t *testing.T) {
	w := start(t, plain, nil)
	good := `"access_token":"canary-token","token_type":"Bearer","expires_in":3600`
	answer := func(body string) simulator.Fault {
		return simulator.Fault{Status: 200, ContentType: "application/json", Body: body}
	}
	for name, test := range map[string]struct {
		fault  simulator.Fault
		reason string
	}{
		"error with a long story": {simulator.Fault{Status: 400, ContentType: "application/json", Body: `{"error":"canary <script>"}`}, "auth_server_unavailable"},
		"500":                     {simulator.Fault{Status: 500}, "auth_server_unavailable"},
		"HTML":                    {simulator.Fault{Status: 502, ContentType: "text/html", Body: "<h1>canary</h1>"}, "auth_server_unavailable"},
		"HTML with 200":           {simulator.Fault{Status: 200, ContentType: "text/html", Body: "<h1>canary</h1>"}, "auth_server_unavailable"},
		"redirect":                {simulator.Fault{Status: 302, Header: http.Header{"Location": {w.App}}}, "auth_server_unavailable"},
		"dropped before":          {simulator.Fault{DropBefore: true}, "auth_server_unavailable"},
		"dropped after":           {simulator.Fault{DropAfter: true}, "auth_server_unavailable"},
		"truncated":               {simulator.Fault{Truncate: true}, "auth_server_unavailable"},
		"huge":                    {simulator.Fault{Huge: true}, "auth_server_unavailable"},
		"array":                   {answer(`[]`), "auth_server_unavailable"},
		"two objects":             {answer(`{` + good + `}{}`), "auth_server_unavailable"},
		"duplicate key":           {answer(`{` + good + `,"access_token":"canary"}`), "auth_server_unavailable"},
		"no token":                {answer(`{"token_type":"Bearer","expires_in":3600}`), "auth_server_unavailable"},
		"token of another case":   {answer(`{"Access_Token":"canary","token_type":"Bearer","expires_in":3600}`), "auth_server_unavailable"},
		"token is a number":       {answer(`{"access_token":7,"token_type":"Bearer","expires_in":3600}`), "auth_server_unavailable"},
		"token with a line break": {answer(`{"access_token":"canary\r\nX: y","token_type":"Bearer","expires_in":3600}`), "auth_server_unavailable"},
		"token with a space":      {answer(`{"access_token":"canary x","token_type":"Bearer","expires_in":3600}`), "auth_server_unavailable"},
		"other token type":        {answer(`{"access_token":"canary","token_type":"DPoP","expires_in":3600}`), "auth_server_unavailable"},
		"no token type":           {answer(`{"access_token":"canary","expires_in":3600}`), "auth_server_unavailable"},
		"fractional expiry":       {answer(`{"access_token":"canary","token_type":"Bearer","expires_in":3600.5}`), "auth_server_unavailable"},
		"expiry in words":         {answer(`{"access_token":"canary","token_type":"Bearer","expires_in":"an hour"}`), "auth_server_unavailable"},
		"negative expiry":         {answer(`{"access_token":"canary","token_type":"Bearer","expires_in":-1}`), "auth_server_unavailable"},
		"endless expiry":          {answer(`{"access_token":"canary","token_type":"Bearer","expires_in":99999999999999999999}`), "auth_server_unavailable"},
		"no scope that was asked": {answer(`{` + good + `,"scope":"payments"}`), "scope_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.browser()
			callback := w.approve(b, w.Site+"/page")
			before := w.sim.Calls("token")
			test.fault.Times = 1
			w.sim.Fail(simulator.Token, test.fault)
			a := b.navigate(callback)
			equal(t, "status", a.StatusCode, http.StatusBadGateway)
			if !strings.Contains(a.body, test.reason) || !strings.Contains(a.body, "/truelayer/login?return=%2Fpage") {
				t.Errorf("want reason %s: %s", test.reason, a.body)
			}
			equal(t, "cookies", len(a.Header.Values("Set-Cookie")), 0)
			again := b.navigate(callback)
			if !strings.Contains(again.body, "login_used") && (test.fault.Status/100 != 4 || !strings.Contains(again.body, test.reason)) {
				t.Errorf("a reload: %d %s", again.StatusCode, again.body)
			}
			equal(t, "token requests", w.sim.Calls("token")-before, 1)
			if strings.Contains(a.body+again.body, "canary") {
				t.Error("the visitor was shown the answer")
			}
		})
	}
	if log := w.log.text(t); strings.Contains(log, "canary") {
		t.Error("the log repeats the answer")
	}
	if n, _ := w.app.requests(); n > 0 {
		t.Error("the token endpoint's redirect was followed")
	}
}

// TestExchangeRefused: an endpoint that refuses has answered. The reason and the
// log say what to mend.
func TestExchangeRefused(t *testing.T) {
	const check, scopes = "check client_id, client_secret and environment", "check which scopes TrueLayer has enabled"
	for _, test := range []struct {
		status               int
		code, reason, remedy string
	}{
		{400, "invalid_grant", "code_refused", ""},
		{400, "invalid_authorization_code", "code_refused", ""},
		{400, "invalid_request", "code_refused", ""},
		{400, "unsupported_grant_type", "code_refused", ""},
		{403, "access_denied", "code_refused", ""},
		{404, "not_found", "code_refused", ""},
		{422, "something_new", "code_refused", ""},
		{400, "invalid_client", "client_refused", check},
		{401, "unauthorized_client", "client_refused", check},
		{401, "unauthorized", "client_refused", check + "; TrueLayer also answers this way to too many requests"},
		{400, "invalid_scope", "scope_refused", scopes},
		{500, "internal_server_error", "auth_server_unavailable", ""},
		{502, "invalid_grant", "auth_server_unavailable", ""},
	} {
		t.Run(fmt.Sprint(test.status, " ", test.code), func(t *testing.T) {
			w := start(t, plain, nil)
			b := w.browser()
			callback := w.approve(b, w.Site+"/page")
			since, before := w.log.mark(t), w.sim.Calls(simulator.Token)
			w.sim.Fail(simulator.Token, simulator.Fault{
				Times: 1, Status: test.status, ContentType: "application/json", Body: `{"error":"` + test.code + `","error_description":"canary"}`,
			})
			a := w.failsCalmly(t, b.navigate, callback, http.StatusBadGateway, test.reason)
			answered := test.reason != "auth_server_unavailable"
			equal(t, "the page says that nobody answered", strings.Contains(a.body, "did not answer"), !answered)
			if log := since(); !strings.Contains(log, "refused with "+test.code) || !strings.Contains(log, test.remedy) {
				t.Errorf("the log does not say what to do: %s", log)
			}
			again := test.reason
			if !answered {
				again = "login_used"
			}
			if a := b.navigate(callback); !strings.Contains(a.body, again) {
				t.Errorf("a reload: want %s: %d %s", again, a.StatusCode, a.body)
			}
			equal(t, "token requests", w.sim.Calls(simulator.Token)-before, 1)
		})
	}
}

// TestWrongSecret is what TrueLayer answers to a client that it does not know.
func TestWrongSecret(t *testing.T) {
	t.Setenv("TEST_CLIENT_SECRET", "another")
	w := start(t, plain, nil)
	b := w.browser()
	since := w.log.mark(t)
	w.failsCalmly(t, b.navigate, w.approve(b, w.Site+"/page"), http.StatusBadGateway, "client_refused")
	if !strings.Contains(since(), "refused with invalid_client") {
		t.Errorf("the log does not say why: %s", since())
	}
}

// TestTokenAnswersThatAreFine are the ones that look unusual and are not.
func TestTokenAnswersThatAreFine(t *testing.T) {
	w := start(t, plain, func(w *world) { w.Options = "scopes info accounts offline_access" })
	for name, body := range map[string]string{
		"type in another case": `{"access_token":"opaque","token_type":"bearer","expires_in":60}`,
		"unknown members":      `{"access_token":"opaque","token_type":"Bearer","expires_in":60,"id_token":"x","new":{"a":1}}`,
		"null refresh token":   `{"access_token":"opaque","token_type":"Bearer","expires_in":60,"refresh_token":null,"scope":null}`,
		"a life in a string":   `{"access_token":"opaque","token_type":"Bearer","expires_in":"60"}`,
		"a life with a point":  `{"access_token":"opaque","token_type":"Bearer","expires_in":60.0}`,
		"a life of six tens":   `{"access_token":"opaque","token_type":"Bearer","expires_in":6e1}`,
		"no life":              `{"access_token":"opaque","token_type":"Bearer"}`,
		"null for a life":      `{"access_token":"opaque","token_type":"Bearer","expires_in":null}`,
		"a part of the scopes": `{"access_token":"opaque","token_type":"Bearer","expires_in":60,"scope":"info"}`,
		"more than asked":      `{"access_token":"opaque","token_type":"Bearer","expires_in":60,"scope":"info accounts balance"}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := w.browser()
			callback := w.approve(b, w.Site+"/page")
			w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: 200, ContentType: "application/json", Body: body})
			equal(t, "callback", b.navigate(callback).location(), "/page")
			b.navigate(w.Site + "/page")
			_, got := w.app.requests()
			equal(t, "Authorization", got.Header.Get("Authorization"), "Bearer opaque")
		})
	}
}

func TestVerifyAccessToken(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.Options = "verify_access_token " + w.AuthServer + "/.well-known/openid-configuration/jwks"
	})
	refused := func(name, reason string, status int) {
		t.Helper()
		b := w.browser()
		a := b.navigate(w.approve(b, w.Site+"/page"))
		equal(t, name+": status", a.StatusCode, status)
		if !strings.Contains(a.body, reason) || len(a.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: want reason %s: %s", name, reason, a.body)
		}
	}
	for name, fault := range map[string]simulator.Fault{
		"away":         {Status: 503},
		"hanging up":   {DropBefore: true},
		"endless":      {Huge: true},
		"cut off":      {Truncate: true},
		"another page": {Status: 200, ContentType: "text/html", Body: "<p>hello"},
	} {
		w.sim.Fail(simulator.JWKS, fault)
		refused("the key set is "+name, "token_unverified", 503)
		w.sim.ClearFaults()
	}
	w.sim.Set(func(s *simulator.Settings) { s.CheapSignatures = true })
	fetched := w.sim.Calls(simulator.JWKS)
	refused("the signature is wrong", "token_refused", 502)
	refused("the signature is wrong again", "token_refused", 502)
	equal(t, "key sets fetched", w.sim.Calls(simulator.JWKS), fetched+1)
	w.sim.Set(func(s *simulator.Settings) { s.CheapSignatures = false })
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: 200, ContentType: "application/json", Body: `{"access_token":"opaque","token_type":"bearer","expires_in":60}`})
	refused("the token is opaque", "token_refused", 502)
	b := w.browser()
	equal(t, "login", w.login(b, w.Site+"/page").location(), "/page")
	w.signedIn()
	equal(t, "key sets fetched for all of them", w.sim.Calls(simulator.JWKS), fetched+1)
}

// TestNothingSecretIsWritten: every test ends by looking for every secret in
// everything that was written, see leaks. This one shows that they would be
// found. Caddy's access log has codes and states where nothing takes them out.
// Its own log has an error's address, if the site draws its errors, but not that
// of a callback.
func TestNothingSecretIsWritten(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.leaky = true
		w.Before = "log {\n\t\toutput file " + w.Data + "/access.log\n\t}"
		w.Options = "disable_error_pages"
	})
	b := w.browser()
	callback := w.approve(b, w.Site+"/page")
	w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: 500})
	a := b.navigate(callback)
	equal(t, "status", a.StatusCode, http.StatusSeeOther)
	equal(t, "then", b.navigate(w.Site+a.location()).StatusCode, http.StatusBadGateway)
	code, state := query(t, callback).Get("code"), query(t, callback).Get("state")
	w.awaitLeak(t, "access.log", code)
	w.awaitLeak(t, "access.log", state)
	if line := regexp.MustCompile(`"level":"error".*"uri":"/truelayer\?failed=auth_server_unavailable"`); !line.MatchString(w.log.text(t)) {
		t.Error("no line about the error")
	}
	for _, leak := range w.leaks("") {
		if strings.HasPrefix(leak, "caddy.log") {
			t.Error("in Caddy's own log, which nothing filters: " + leak)
		}
	}
	if log := w.log.text(t); !strings.Contains(log, `"logger":"http.log.trace","msg":"truelayer"`) {
		t.Error("nothing was traced")
	}
	if metrics := w.metrics(); !strings.Contains(metrics, "caddy_") {
		t.Errorf("the metrics are %q", metrics)
	}
	w.secrets.add("what is in the metrics")
	if leaks := w.leaks(`a_metric{a="what is in the metrics"} 1`); !slices.Contains(leaks, "metrics has what is in t…") {
		t.Errorf("found only %q", leaks)
	}
}

// TestCredentialsAreWrittenOnRequest: log_credentials is the operator's word
// for it, and shows that cookies and tokens would be found.
func TestCredentialsAreWrittenOnRequest(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.leaky = true
		w.Global = "servers {\n\t\tlog_credentials\n\t}"
	})
	b := w.signedIn()
	equal(t, "status", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
	_, got := w.app.requests()
	w.awaitLeak(t, "caddy.log", strings.Split(got.Header.Get("Authorization"), ".")[2])
	for pair := range strings.SplitSeq(b.cookies(w.Site), "; ") {
		_, value, _ := strings.Cut(pair, "=")
		w.awaitLeak(t, "access.log", value)
	}
}

// awaitLeak waits for a secret in a file: Caddy writes about a request after it
// has answered.
func (w *world) awaitLeak(t *testing.T, file, secret string) {
	t.Helper()
	waitUntil(t, "a secret in "+file, func() bool {
		return slices.Contains(w.leaks(""), fmt.Sprintf("%s has %.12s…", file, secret))
	})
}
