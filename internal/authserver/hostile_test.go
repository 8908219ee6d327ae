package authserver

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// TestTokenAnswerRefused: what is not exactly an answer as RFC 6749 section 5.1
// has it is none. Each is refused without being repeated.
func TestTokenAnswerRefused(t *testing.T) {
	expires := func(value string) string {
		return `{"access_token":"canary","token_type":"Bearer","expires_in":` + value + `}`
	}
	with := func(members string) string {
		return `{"access_token":"canary","token_type":"Bearer","expires_in":3600` + members + `}`
	}
	inUTF16 := func(order binary.AppendByteOrder, text string) string {
		var b []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, unit)
		}
		return string(b)
	}
	for name, body := range map[string]string{
		"nothing":                       ``,
		"null":                          `null`,
		"a string":                      `"canary"`,
		"a number":                      `7`,
		"an array around it":            `[` + with(``) + `]`,
		"no members":                    `{}`,
		"an error":                      `{"error":"invalid_grant"}`,
		"an open end":                   strings.TrimSuffix(with(``), `}`),
		"trailing text":                 with(``) + `canary`,
		"a trailing bracket":            with(``) + `]`,
		"a trailing comma":              with(`,`),
		"a trailing NUL":                with(``) + "\x00",
		"a second object":               with(``) + with(``),
		"a comment":                     with(`/* canary */`),
		"single quotes":                 strings.ReplaceAll(with(``), `"`, `'`),
		"a byte order mark":             "\ufeff" + with(``),
		"UTF-16, big endian":            inUTF16(binary.BigEndian, "\ufeff"+with(``)),
		"UTF-16, little endian":         inUTF16(binary.LittleEndian, "\ufeff"+with(``)),
		"UTF-16 without a mark":         inUTF16(binary.BigEndian, with(``)),
		"Latin-1 in the token":          strings.Replace(with(``), "canary", "canary\xe9", 1),
		"a form":                        `access_token=canary&token_type=Bearer&expires_in=3600`,
		"a JWT of it":                   `eyJhbGciOiJub25lIn0.eyJhY2Nlc3NfdG9rZW4iOiJjYW5hcnkifQ.`,
		"the token twice":               with(`,"access_token":"canary"`),
		"the token twice, escaped":      with(`,"access_tok\u0065n":"canary2"`),
		"the expiry twice":              with(`,"expires_in":3600`),
		"an unknown member twice":       with(`,"x":1,"x":1`),
		"all in another case":           strings.ToUpper(with(``)),
		"the type in another case":      strings.Replace(with(``), "token_type", "Token_Type", 1),
		"the token with a blank":        strings.Replace(with(``), `"access_token"`, `"access_token "`, 1),
		"token null":                    strings.Replace(with(``), `"canary"`, `null`, 1),
		"token empty":                   strings.Replace(with(``), `canary`, ``, 1),
		"token an object":               strings.Replace(with(``), `"canary"`, `{"canary":1}`, 1),
		"token a list":                  strings.Replace(with(``), `"canary"`, `["canary"]`, 1),
		"token true":                    strings.Replace(with(``), `"canary"`, `true`, 1),
		"token with a line break":       strings.Replace(with(``), `canary`, `canary\u000a`, 1),
		"token with NUL":                strings.Replace(with(``), `canary`, `canary\u0000`, 1),
		"token with a blank":            strings.Replace(with(``), `canary`, `canary x`, 1),
		"token with another script":     strings.Replace(with(``), `canary`, `canary\u0430`, 1),
		"token with half a character":   strings.Replace(with(``), `canary`, `canary\ud800`, 1),
		"a token that is too long":      strings.Replace(with(``), `canary`, strings.Repeat("c", maxAccessToken+1), 1),
		"type null":                     strings.Replace(with(``), `"Bearer"`, `null`, 1),
		"type a number":                 strings.Replace(with(``), `"Bearer"`, `7`, 1),
		"type a list":                   strings.Replace(with(``), `"Bearer"`, `["Bearer"]`, 1),
		"type empty":                    strings.Replace(with(``), `Bearer`, ``, 1),
		"type MAC":                      strings.Replace(with(``), `Bearer`, `mac`, 1),
		"type DPoP":                     strings.Replace(with(``), `Bearer`, `DPoP`, 1),
		"type N_A":                      strings.Replace(with(``), `Bearer`, `N_A`, 1), // RFC 8693 section 2.2.1
		"type with a blank":             strings.Replace(with(``), `Bearer`, `Bearer `, 1),
		"type with more":                strings.Replace(with(``), `Bearer`, `Bearer,DPoP`, 1),
		"type with a folding letter":    strings.Replace(with(``), `Bearer`, `beareɼ`, 1),
		"expiry 0":                      expires(`0`),
		"expiry -0":                     expires(`-0`),
		"expiry negative":               expires(`-3600`),
		"expiry fractional":             expires(`3600.5`),
		"expiry with a huge one":        expires(`1e999`),
		"expiry a word":                 expires(`"soon"`),
		"expiry an empty string":        expires(`""`),
		"expiry a string of null":       expires(`"null"`),
		"expiry a string of 0":          expires(`"0"`),
		"expiry a fractional string":    expires(`"3600.5"`),
		"expiry a hexadecimal string":   expires(`"0xe10"`),
		"expiry a string of a string":   expires(`"\"3600\""`),
		"expiry a string with a unit":   expires(`"3600s"`),
		"expiry a string without end":   expires(`"` + strings.Repeat("9", 400) + `"`),
		"expiry below a second":         expires(`0.5`),
		"expiry true":                   expires(`true`),
		"expiry a list":                 expires(`[3600]`),
		"expiry an object":              expires(`{"seconds":3600}`),
		"expiry a date":                 expires(`"2999-01-01T00:00:00Z"`),
		"expiry with a plus":            expires(`+3600`),
		"expiry octal":                  expires(`0600`),
		"expiry hexadecimal":            expires(`0x10`),
		"expiry NaN":                    expires(`NaN`),
		"expiry Infinity":               expires(`Infinity`),
		"expiry beyond a year":          expires(fmt.Sprint(maxExpiresIn + 1)),
		"expiry of 32 bits":             expires(`4294967296`),
		"expiry of 63 bits":             expires(`9223372036854775807`),
		"expiry of 64 bits":             expires(`18446744073709551616`),
		"expiry of many digits":         expires(strings.Repeat("9", 5000)),
		"refresh token a number":        with(`,"refresh_token":7`),
		"refresh token with a break":    with(`,"refresh_token":"canary\r\nx"`),
		"refresh token too long":        with(`,"refresh_token":"` + strings.Repeat("r", maxRefreshToken+1) + `"`),
		"scope a list":                  with(`,"scope":["info"]`),
		"scope a number":                with(`,"scope":7`),
		"scope with a line break":       with(`,"scope":"info\naccounts"`),
		"scope too long":                with(`,"scope":"` + strings.Repeat("s", maxScope+1) + `"`),
		"nested beyond measure":         with(`,"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)),
		"nested without an end":         with(`,"x":` + strings.Repeat("[", 60_000)),
		"nested instead of it":          strings.Repeat("[", 60_000),
		"nested objects":                strings.Repeat(`{"access_token":`, 4_000),
		"a member's name without quote": `{access_token:"canary","token_type":"Bearer","expires_in":3600}`,
		"a member's name is a number":   `{7:"canary","token_type":"Bearer","expires_in":3600}`,
	} {
		token, err := readToken([]byte(body), time.Unix(1_800_000_000, 0))
		if err == nil {
			t.Errorf("%s: accepted, until %v", name, token.Expires)
			continue
		}
		if text := err.Error(); strings.Contains(text, "canary") || len(text) > 200 {
			t.Errorf("%s: the error repeats the answer: %.200s", name, text)
		}
	}
}

// TestTokenAnswerAccepted are answers that look unusual and are right.
func TestTokenAnswerAccepted(t *testing.T) {
	sent := time.Unix(1_800_000_000, 0)
	for name, body := range map[string]string{
		"blanks":                    "\r\n\t { \"access_token\" :\t\"token\" , \"token_type\":\n\"BEARER\", \"expires_in\" :  3600 \r\n} \n",
		"members of another case":   `{"access_token":"token","Access_Token":"evil","token_type":"bearer","Token_Type":"mac","expires_in":3600,"EXPIRES_IN":1}`,
		"expiry a string":           `{"access_token":"token","token_type":"bearer","expires_in":"3600"}`,
		"expiry with a point":       `{"access_token":"token","token_type":"bearer","expires_in":3600.0}`,
		"expiry with an exponent":   `{"access_token":"token","token_type":"bearer","expires_in":36e2}`,
		"no expiry":                 `{"access_token":"token","token_type":"bearer"}`,
		"expiry null":               `{"access_token":"token","token_type":"bearer","expires_in":null}`,
		"expiry in another case":    `{"access_token":"token","token_type":"bearer","Expires_In":1}`,
		"escapes":                   `{"access\u005ftoken":"t\u006fken","token_type":"bearer","expires_in":3600}`,
		"an error beside it":        `{"access_token":"token","token_type":"bearer","expires_in":3600,"error":"invalid_grant"}`,
		"deep, but not beyond":      `{"access_token":"token","token_type":"bearer","expires_in":3600,"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
		"null for what is optional": `{"access_token":"token","token_type":"bearer","expires_in":3600,"refresh_token":null,"scope":null,"id_token":null}`,
		"empty for what is":         `{"access_token":"token","token_type":"bearer","expires_in":3600,"refresh_token":"","scope":""}`,
	} {
		token, err := readToken([]byte(body), sent)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if token.Access.Reveal() != "token" || !token.Expires.Equal(sent.Add(time.Hour)) || token.Refresh.Reveal() != "" || token.Scopes != nil {
			t.Errorf("%s: %q until %v, scopes %q", name, token.Access.Reveal(), token.Expires, token.Scopes)
		}
	}
}

// bomb is a megabyte of spaces before a token answer, in a kilobyte.
func bomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, strings.Repeat(" ", 1<<20)+`{"access_token":"canary","token_type":"bearer","expires_in":60}`)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCompressedAnswer: none was asked for, and none is unpacked.
func TestCompressedAnswer(t *testing.T) {
	var accepted string
	packed := bomb(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, packed)
	}))
	defer server.Close()
	_, err := testClient(server.URL).Exchange(t.Context(), "c", "r", Secret{})
	if !errors.Is(err, errNotJSON) || accepted != "" {
		t.Errorf("Accept-Encoding was %q; got %v", accepted, err)
	}
}

// TestRedirectsAreNotFollowed: the request, which holds the client secret, goes
// to the configured auth server only, whatever that says.
func TestRedirectsAreNotFollowed(t *testing.T) {
	followed := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		followed++
		_, _ = io.WriteString(w, `{"access_token":"a","token_type":"bearer","expires_in":60}`)
	}))
	defer elsewhere.Close()
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Location", elsewhere.URL+"/connect/token")
			w.Header().Set("Refresh", "0; url="+elsewhere.URL)
			w.WriteHeader(status)
		}))
		c := testClient(server.URL)
		for what, err := range map[string]error{
			"an exchange": second(c.Exchange(t.Context(), "c", "r", Secret{})),
			"a refresh":   second(c.Refresh(t.Context(), NewSecret("r"))),
			"disconnect":  c.Disconnect(t.Context(), NewSecret("a")),
		} {
			if err == nil {
				t.Errorf("%d: %s succeeded", status, what)
			}
		}
		server.Close()
		if asked != 3 {
			t.Errorf("%d: asked %d times for three calls", status, asked)
		}
	}
	if followed > 0 {
		t.Errorf("%d redirects were followed", followed)
	}
}

func second[A, B any](_ A, b B) B { return b }

// TestOnlyOKIsSuccess: a token under any other status is none.
func TestOnlyOKIsSuccess(t *testing.T) {
	for _, status := range []int{201, 202, 203, 206, 207, 226, 400, 401, 403, 404, 418, 429, 500, 502, 503, 599} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"access_token":"canary","token_type":"bearer","expires_in":60}`)
		}))
		_, err := testClient(server.URL).Exchange(t.Context(), "c", "r", Secret{})
		server.Close()
		answer, ok := errors.AsType[*Error](err)
		if !ok || answer.Status != status || answer.Code != "" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestErrorWithOK: an error code counts as one only under an error's status, so
// that no proxy's mistake ends a session.
func TestErrorWithOK(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"canary"}`)
	}))
	defer server.Close()
	_, err := testClient(server.URL).Refresh(t.Context(), NewSecret("r"))
	answer, ok := errors.AsType[*Error](err)
	if !ok || answer.Code != "" || answer.Status != http.StatusOK || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

// FuzzErrorAnswer: an error can be logged whatever the answer was: it is short
// plain text, and asks for no more patience than is reasonable.
func FuzzErrorAnswer(f *testing.F) {
	f.Add(400, "30", "", "abc-123", []byte(`{"error":"invalid_grant","error_description":"x"}`))
	f.Add(503, "Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 2099 07:27:00 GMT", "a b\r\n", []byte(`<h1>away</h1>`))
	f.Add(429, "9223372036854775807", "now", strings.Repeat("a", 100), []byte(`{"error":"a","error":"b"}`))
	f.Add(503, "Fri Dec 31 23:59:59 9999", "Monday, 01-Jan-70 00:00:00 GMT", "", []byte(``))
	f.Add(400, "", "", "", []byte(`{"error":"a","x":1e1111}`)) // a number that is none of Go's
	f.Fuzz(func(t *testing.T, status int, retryAfter, date, id string, body []byte) {
		header := http.Header{"Retry-After": {retryAfter}, "Date": {date}, "X-Tl-Correlation-Id": {id}}
		e := ReadError(tokenEndpoint, status, header, body, time.Unix(1_800_000_000, 0))
		text := e.Error()
		if len(text) > 300 || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("not for a log: %q", text)
		}
		if e.RetryAfter < 0 || e.RetryAfter > MaxRetryAfter {
			t.Errorf("Retry-After %q is %v", retryAfter, e.RetryAfter)
		}
		if e.Code == "" {
			return
		}
		// another reader of JSON agrees that this is the code
		var (
			answer map[string]json.RawMessage
			code   string
		)
		if err := json.Unmarshal(body, &answer); err != nil || json.Unmarshal(answer["error"], &code) != nil || code != e.Code {
			t.Errorf("%q was read as %q; %v", body, e.Code, err)
		}
	})
}
