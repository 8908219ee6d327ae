package simulator

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// follow follows a bank link to the bank's login and returns the session.
func (f *fixture) follow(link string) (session string) {
	f.t.Helper()
	r := f.send(http.MethodGet, strings.TrimPrefix(link, f.url), "", "")
	session, ok := strings.CutPrefix(r.header.Get("Location"), "/dialog/login?")
	if r.status != http.StatusSeeOther || !ok {
		f.t.Fatalf("%d %v %s", r.status, r.header, r.body)
	}
	return session
}

// toCallback is the query with which a bank sends the browser to the auth server.
func (f *fixture) toCallback(r reply) url.Values {
	f.t.Helper()
	location := r.header.Get("Location")
	if r.status != http.StatusSeeOther || !strings.HasPrefix(location, f.url+hybridCallback+"?") {
		f.t.Fatalf("%d %s %s", r.status, location, r.body)
	}
	return queryOf(f.t, location)
}

func (f *fixture) callBack(query url.Values) reply {
	f.t.Helper()
	return f.send(http.MethodGet, hybridCallback+"?"+query.Encode(), "", "")
}

// TestADirectLogin: the link leads to the bank, the bank to the auth server, and
// that to the application, with a code of the bank that was asked for.
func TestADirectLogin(t *testing.T) {
	for _, mode := range []any{nil, "form_post"} {
		for _, by := range []string{"Approve", "GrantDirect"} {
			f := start(t)
			link := f.directLink("response_mode", mode, "provider_id", "ob-kestrel")
			var callback string
			var err error
			if by == "Approve" {
				callback, err = Approve(t.Context(), nil, link)
			} else {
				callback, err = f.GrantDirect(link)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := queryOf(t, callback)
			if !strings.HasPrefix(callback, testRedirect+"?") || got.Get("state") != "the-state" ||
				got.Get("scope") != "verification accounts info offline_access" || len(got.Get("code")) != 64 || len(got) != 3 {
				t.Errorf("%s, %v: callback %s", by, mode, callback)
			}
			tokens := f.tokens(exchangeForm(got.Get("code"), "code_verifier", testVerifier))
			if c := f.claims(tokens.AccessToken); c.ConnectorID != "ob-kestrel" || tokens.RefreshToken == "" {
				t.Errorf("%s: %+v", by, c)
			}
			if r := f.verify("John Doe", tokens.AccessToken); !strings.Contains(r.body, `"verified":true`) {
				t.Errorf("%s: %s", by, r.body)
			}
		}
	}
}

func TestADirectLoginChecksPKCE(t *testing.T) {
	f := start(t)
	for _, verifier := range []string{"", "another-verifier-that-is-long-enough-for-the-rfc"} {
		callback, err := f.GrantDirect(f.directLink())
		if err != nil {
			t.Fatal(err)
		}
		if r := f.postToken(exchangeForm(queryOf(t, callback).Get("code"), "code_verifier", verifier)); r.errorCode(t) != "invalid_grant" {
			t.Errorf("verifier %q: %s", verifier, r.body)
		}
	}
}

// TestNothingOfTheDialogIsInBetween: the bank's pages are all that there is.
func TestNothingOfTheDialogIsInBetween(t *testing.T) {
	f := start(t)
	session := f.follow(f.directLink())
	for _, step := range []string{stepBank, stepConsent, stepAccounts} {
		for _, r := range []reply{f.send(http.MethodGet, "/dialog/"+step+"?"+session, "", ""), f.press(step, session)} {
			if r.status != 303 || !strings.HasPrefix(r.header.Get("Location"), "/dialog/login?") {
				t.Errorf("%s: %d %v", step, r.status, r.header)
			}
		}
	}
	r := f.press(stepLogin, session, "username", "john", "password", "doe")
	if !strings.HasPrefix(r.header.Get("Location"), "/dialog/accounts?") {
		t.Errorf("%d %v", r.status, r.header)
	}
}

func TestABankLinkWorksOnceAndForFifteenMinutes(t *testing.T) {
	f := start(t)
	link := f.directLink()
	f.time.advance(bankLinkLifetime - time.Second)
	f.follow(link)
	late := f.directLink()
	f.time.advance(bankLinkLifetime)
	for name, link := range map[string]string{
		"used": link, "late": late, "invented": f.url + "/bank/mock/authorize?state=auth-x", "nothing": f.url + "/bank/mock/authorize",
	} {
		if r := f.send(http.MethodGet, strings.TrimPrefix(link, f.url), "", ""); r.status != 400 || !strings.Contains(r.body, "start again") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		if _, err := f.GrantDirect(link); err == nil {
			t.Errorf("%s: GrantDirect accepts it", name)
		}
		if _, err := Approve(t.Context(), nil, link); err == nil {
			t.Errorf("%s: Approve accepts it", name)
		}
	}
}

func TestCancelAtTheBank(t *testing.T) {
	for _, step := range []string{stepLogin, stepAccounts} {
		f := start(t)
		link := f.directLink()
		callback, err := Approve(t.Context(), nil, link, CancelAt(step))
		if err != nil {
			t.Fatal(err)
		}
		if want := testRedirect + "?error=access_denied&error_description=the+user+cancelled&state=the-state"; callback != want {
			t.Errorf("%s: %s", step, callback)
		}
		if _, err := Approve(t.Context(), nil, link); err == nil {
			t.Error("the link works again")
		}
	}
	f := start(t)
	f.Set(func(s *Settings) { s.Cancelled = "nothing" })
	if callback, err := Approve(t.Context(), nil, f.directLink(), CancelAt(stepLogin)); err != nil || callback != testRedirect {
		t.Errorf("%s, %v", callback, err)
	}
}

func TestABankFails(t *testing.T) {
	for _, user := range []string{"error.provider_error", "error.internal_error"} {
		f := start(t)
		callback, err := Approve(t.Context(), nil, f.directLink(), As(user, "x"))
		if err != nil {
			t.Fatal(err)
		}
		if want := testRedirect + "?error=provider_error&error_description=the+bank+failed&state=the-state"; callback != want {
			t.Errorf("%s: %s", user, callback)
		}
		if callback, err = Approve(t.Context(), nil, f.directLink("state", nil), As(user, "x")); err != nil || strings.Contains(callback, "state") {
			t.Errorf("%s: %s, %v", user, callback, err)
		}
	}
	f := start(t)
	if _, err := Approve(t.Context(), nil, f.directLink(), As("john", "no")); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestTheBanksAnswer: the auth server takes it once, and no other one.
func TestTheBanksAnswer(t *testing.T) {
	f := start(t)
	session := f.follow(f.directLink())
	id, err := url.ParseQuery(session)
	if err != nil {
		t.Fatal(err)
	}
	state := id.Get("session_id")
	early := f.callBack(url.Values{"state": {state}, "code": {""}})
	f.press(stepLogin, session, "username", "john", "password", "doe")
	page := f.send(http.MethodGet, "/dialog/accounts?"+session, "", "")
	answer := f.toCallback(f.press(stepAccounts, session, "account", accountBox.FindStringSubmatch(page.body)[1]))
	if answer.Get("state") != state || answer.Get("code") == "" {
		t.Errorf("the bank answers %v", answer)
	}
	refused := map[string]reply{
		"early":           early,
		"another code":    f.callBack(url.Values{"state": {state}, "code": {"x"}}),
		"without a code":  f.callBack(url.Values{"state": {state}}),
		"without a state": f.callBack(url.Values{"code": answer["code"]}),
		"of a dialog":     f.callBack(url.Values{"state": {strings.TrimPrefix(f.openDialog(), "session_id=")}, "code": answer["code"]}),
	}
	if r := f.callBack(answer); r.status != 303 || !strings.HasPrefix(r.header.Get("Location"), testRedirect+"?code=") {
		t.Errorf("%d %v", r.status, r.header)
	}
	refused["again"] = f.callBack(answer)
	for name, r := range refused {
		if r.status != 400 || r.header.Get("Location") != "" {
			t.Errorf("%s: %d %v", name, r.status, r.header)
		}
	}
	if n := len(f.all()); n != 1 {
		t.Errorf("%d connections", n)
	}
}
