package truelayer

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// TestLoginCookieBits: a login's cookie, under way or done, is none with any
// bit of it changed, under another name, or in another block; and nobody can
// fill the log with such cookies.
func TestLoginCookieBits(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	provisioned := func(change func(*Handler)) *Handler {
		h := provision(t, change)
		h.logger = zap.New(core)
		h.now = func() time.Time { return time.Unix(1_800_000_000, 0) }
		return h
	}
	h := provisioned(func(h *Handler) { h.CookieName = "bank" })
	others := map[string]*Handler{
		"client":        provisioned(func(h *Handler) { h.CookieName, h.ClientID = "bank", "client2" }),
		"client secret": provisioned(func(h *Handler) { h.CookieName = "bank"; h.ClientSecret = new("another") }),
		"auth server":   provisioned(func(h *Handler) { h.CookieName, h.AuthServer = "bank", "https://auth.example.com" }),
		"scopes":        provisioned(func(h *Handler) { h.CookieName, h.Scopes = "bank", []string{"info"} }),
		"provider":      provisioned(func(h *Handler) { h.CookieName, h.ProviderID = "bank", "ob-monzo" }),
	}
	underWay, done := testLogin(), testLogin()
	done.done, done.verifier, done.sessionExpected = true, authserver.Secret{}, h.now().Add(lostSession)
	name := h.cookies.loginCookie(0)
	doneName := h.cookies.loginCookie(1)
	value, doneValue := h.loginKeys.seal(name, underWay), h.loginKeys.seal(doneName, done)

	counts := func(h *Handler, cookie string) (underWayCounts, doneCounts bool) {
		r := &http.Request{Header: http.Header{"Cookie": {cookie}}}
		return h.findLogin(r, underWay.state) != nil, h.findLogin(r, done.state) != nil || h.justLoggedIn(r)
	}
	if one, two := counts(h, name+"="+value+"; "+doneName+"="+doneValue); !one || !two {
		t.Fatalf("as they are: %v, %v", one, two)
	}
	refused := func(what string, h *Handler, cookie string) {
		t.Helper()
		if one, two := counts(h, cookie); one || two {
			t.Errorf("%s: under way %v, done %v", what, one, two)
		}
	}
	for name, value := range map[string]string{name: value, doneName: doneValue} {
		sealed, err := cookieEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		for i := range sealed { // salt, nonce, body, tag
			for bit := range 8 {
				sealed[i] ^= 1 << bit
				refused(fmt.Sprintf("bit %d of byte %d", bit, i), h, name+"="+cookieEncoding.EncodeToString(sealed))
				sealed[i] ^= 1 << bit
			}
			refused(fmt.Sprintf("%d bytes", i), h, name+"="+cookieEncoding.EncodeToString(sealed[:i]))
		}
		refused("a byte more", h, name+"="+cookieEncoding.EncodeToString(append(sealed, 0)))
		refused("more than a cookie holds", h, name+"="+strings.Repeat("A", 4096))
		for i := range value { // as it is spelled, unused bits included
			for bit := range 8 {
				changed := []byte(value)
				changed[i] ^= 1 << bit
				refused(fmt.Sprintf("bit %d of character %d", bit, i), h, name+"="+string(changed))
			}
		}
		for what, another := range others {
			refused("another "+what, another, name+"="+value)
		}
	}
	refused("names swapped", h, name+"="+doneValue+"; "+doneName+"="+value)
	refused("a session's name", h, h.cookies.session+"="+value)
	refused("a name that only begins like it", h, name+"0="+value+"; "+h.cookies.login+"="+doneValue)
	if logs.Len() > 0 {
		t.Errorf("log: %v", logs.All())
	}
}
