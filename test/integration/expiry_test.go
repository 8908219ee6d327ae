package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// tokenWith is an access token with claims, which nobody has signed.
func tokenWith(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// answersOnce makes the token endpoint's next answer a token with the claims.
func (w *world) answersOnce(claims, more string) {
	w.sim.Fail(simulator.Token, simulator.Fault{
		Times: 1, Status: http.StatusOK, ContentType: "application/json",
		Body: `{"access_token":"` + tokenWith(claims) + `","token_type":"Bearer"` + more + `}`,
	})
}

// TestAnswerWithoutExpiresIn: at a login and at a refresh, a token lasts as long
// as it says itself, else for an hour, and the log says which.
func TestAnswerWithoutExpiresIn(t *testing.T) {
	w := startRefreshing(t, "")
	in := time.Now().Add(30 * time.Minute).Unix()
	for claims, want := range map[string]struct {
		by      string
		minutes int
	}{
		fmt.Sprintf(`{"exp":%d}`, in):   {"exp", 30},
		fmt.Sprintf(`{"exp":"%d"}`, in): {"exp", 30},
		`{}`:                            {"usual lifetime", 60},
		`{"exp":1700000000}`:            {"usual lifetime", 60},
		`{"exp":9999999999}`:            {"usual lifetime", 60},
	} {
		t.Run(claims, func(t *testing.T) {
			check := func(b *browser, level string, since func() string) {
				t.Helper()
				seconds, _ := w.info(b)["token_expires_in"].(float64)
				if off := want.minutes*60 - int(seconds); off < 0 || off > 60 {
					t.Errorf("the token ends in %v seconds", seconds)
				}
				line := ""
				for l := range strings.SplitSeq(since(), "\n") {
					if strings.Contains(l, "a token response has no expires_in") {
						line += l
					}
				}
				if strings.Count(line, `"level":"`) != 1 || !strings.Contains(line, `"level":"`+level+`"`) || !strings.Contains(line, `"taken":"`+want.by+`"`) {
					t.Errorf("the log says: %s", line)
				}
			}
			w.answersOnce(claims, "")
			since := w.log.mark(t)
			check(w.signedIn(), "info", since)
			b := w.signedInExpired()
			since = w.log.mark(t)
			w.answersOnce(claims, "")
			equal(t, "a visit", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
			check(b, "debug", since)
		})
	}
	since := w.log.mark(t)
	w.signedIn()
	if strings.Contains(since(), "expires_in\"") {
		t.Errorf("the log says of an answer with expires_in: %s", since())
	}
}

// TestOddClaims: what a token says of a connection is used as far as it can be
// read, whatever else it says.
func TestOddClaims(t *testing.T) {
	w := start(t, plain, func(w *world) {
		w.After = "request_header X-User {http.auth.user.id}\n request_header X-Bank {http.truelayer.provider}\n request_header X-Consent {http.truelayer.consent_expires}"
	})
	const ends = "2030-01-02T03:04:05Z"
	const good = `"sub":"c0nn=","connector_id":"ob-monzo"`
	for claims, want := range map[string]struct{ user, bank, consent string }{
		good + `,"consent_expiry_time":1893553445`:                           {"c0nn=", "ob-monzo", ends},
		good + `,"consent_expiry_time":"1893553445"`:                         {"c0nn=", "ob-monzo", ends},
		good + `,"consent_expiry_time":"2030-01-02T03:04:05Z"`:               {"c0nn=", "ob-monzo", ends},
		good + `,"consent_expiry_time":"2030-01-02T04:04:05+01:00"`:          {"c0nn=", "ob-monzo", ends},
		good + `,"consent_expiry_time":["soon"]`:                             {"c0nn=", "ob-monzo", ""},
		`"sub":7,"connector_id":"ob-monzo","consent_expiry_time":1893553445`: {"", "ob-monzo", ends},
		`"sub":"c0nn=","connector_id":{},"consent_expiry_time":1893553445`:   {"c0nn=", "", ends},
		`"sub":"x",` + good: {"", "", ""}, // a member twice
	} {
		t.Run(claims, func(t *testing.T) {
			w.answersOnce("{"+claims+"}", `,"expires_in":3600`)
			b := w.signedIn()
			equal(t, "a visit", b.navigate(w.Site+"/page").StatusCode, http.StatusOK)
			_, got := w.app.requests()
			user := got.Header.Get("X-User")
			if want.user != "" && user != want.user || user == "" {
				t.Errorf("the user is %q", user)
			}
			equal(t, "bank", got.Header.Get("X-Bank"), want.bank)
			consent, err := time.Parse(time.RFC3339, got.Header.Get("X-Consent"))
			if want.consent != "" {
				equal(t, "consent", got.Header.Get("X-Consent"), want.consent)
			} else if days := time.Until(consent).Hours() / 24; err != nil || days < 89 || days > 91 {
				t.Errorf("the consent ends %q", got.Header.Get("X-Consent"))
			}
		})
	}
}

// TestRetryAfterDate: a date in Retry-After is for how long a refresh waits, as
// the auth server's clock counts it.
func TestRetryAfterDate(t *testing.T) {
	for _, form := range []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		t.Run(form, func(t *testing.T) {
			w := startRefreshing(t, "")
			b := w.signedInExpired()
			clock := time.Now().UTC().Add(-24 * time.Hour) // the server's is a day behind
			w.sim.Fail(simulator.Token, simulator.Fault{Times: 1, Status: http.StatusServiceUnavailable, Header: http.Header{
				"Date": {clock.Format(http.TimeFormat)}, "Retry-After": {clock.Add(200 * time.Second).Format(form)},
			}})
			before := w.sim.Calls(simulator.Token)
			for range 2 {
				a := w.failsCalmly(t, b.fetch, w.Site+"/page", http.StatusServiceUnavailable, "token_unavailable")
				var wait int
				if _, err := fmt.Sscan(a.Header.Get("Retry-After"), &wait); err != nil || wait < 140 || wait > 200 {
					t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
				}
			}
			equal(t, "token requests", w.sim.Calls(simulator.Token)-before, 1)
		})
	}
}
