package authserver

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"
)

// TestExpiryOfTheToken: an answer without expires_in lasts as long as the access
// token says, if that is sane, else as long as they usually do.
func TestExpiryOfTheToken(t *testing.T) {
	sent := time.Unix(1_800_000_000, 0)
	for claims, want := range map[string]struct {
		lasts time.Duration
		by    string
	}{
		`{"exp":1800000090}`:               {90 * time.Second, "exp"},
		`{"exp":"1800000090"}`:             {90 * time.Second, "exp"},
		`{"exp":1800000090.7,"sub":7}`:     {90 * time.Second, "exp"},
		`{}`:                               {time.Hour, "usual lifetime"},
		`{"exp":null}`:                     {time.Hour, "usual lifetime"},
		`{"exp":"soon"}`:                   {time.Hour, "usual lifetime"},
		`{"exp":1800000000}`:               {time.Hour, "usual lifetime"},
		`{"exp":1799999999}`:               {time.Hour, "usual lifetime"},
		`{"exp":9999999999}`:               {time.Hour, "usual lifetime"},
		`{"exp":1800000090,"exp":1800000}`: {time.Hour, "usual lifetime"},
	} {
		access := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
		token, err := readToken([]byte(`{"access_token":"`+access+`","token_type":"bearer"}`), sent)
		if err != nil || token.Expires.Sub(sent) != want.lasts || token.ExpiresBy != want.by {
			t.Errorf("%s: %v by %q, %v", claims, token.Expires.Sub(sent), token.ExpiresBy, err)
		}
		token, err = readToken([]byte(`{"access_token":"`+access+`","token_type":"bearer","expires_in":60}`), sent)
		if err != nil || token.Expires.Sub(sent) != time.Minute || token.ExpiresBy != "expires_in" {
			t.Errorf("%s, with expires_in: %v by %q, %v", claims, token.Expires.Sub(sent), token.ExpiresBy, err)
		}
	}
}

// TestRetryAfter: it is believed up to a bound. A date counts from the answer's
// own, or from our clock.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"-5":                             0,
		"30":                             30 * time.Second,
		"301":                            MaxRetryAfter,
		"9223372036":                     MaxRetryAfter,
		"9223372036854775807":            MaxRetryAfter,
		"99999999999999999999":           0,
		"1.5":                            0,
		"1e3":                            0,
		"30, 60":                         0,
		"soon":                           0,
		"Fri, 15 Jan 2027 08:01:00 GMT":  time.Minute,
		"Friday, 15-Jan-27 08:01:00 GMT": time.Minute,
		"Fri Jan 15 08:01:00 2027":       time.Minute,
		"Fri, 15 Jan 2027 08:05:01 GMT":  MaxRetryAfter,
		"Wed, 21 Oct 2099 07:28:00 GMT":  MaxRetryAfter,
		"Fri, 31 Dec 9999 23:59:59 GMT":  MaxRetryAfter,
		"Fri, 15 Jan 2027 08:00:00 GMT":  0,
		"Fri, 15 Jan 2027 07:59:59 GMT":  0,
		"Thu, 01 Jan 1970 00:00:00 GMT":  0,
		"Fri, 15 Jan 2027 08:01:00":      0, // no zone
		"2027-01-15T08:01:00Z":           0,
	} {
		// a server whose clock is a day behind means the same by the same dates
		for _, behind := range []time.Duration{0, 24 * time.Hour} {
			header := http.Header{"Retry-After": {value}}
			if behind > 0 {
				header.Set("Date", now.Format(http.TimeFormat))
			}
			if got := ReadError(tokenEndpoint, http.StatusServiceUnavailable, header, nil, now.Add(behind)).RetryAfter; got != want {
				t.Errorf("%q, %v behind: got %v, want %v", value, behind, got, want)
			}
		}
		header := http.Header{"Retry-After": {value}, "Date": {"now"}}
		if got := ReadError(tokenEndpoint, http.StatusServiceUnavailable, header, nil, now).RetryAfter; got != want {
			t.Errorf("%q, with a Date that is none: got %v, want %v", value, got, want)
		}
	}
}
