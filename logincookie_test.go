package truelayer

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

func testLogin() *login {
	return &login{
		started: time.Unix(1_800_000_000, 0), sessionExpected: time.Unix(0, 0), state: randomText(), verifier: authserver.NewSecret(randomText()),
		redirectURI: testOrigin + "/truelayer", returnTo: "/page?a=b", provider: "ob-monzo", scopes: "info accounts", consentID: "c0ffee", renews: "an id of 32 bytes, of which one\x00",
	}
}

func TestLoginCookie(t *testing.T) {
	keys := newLoginSealer(authserver.NewSecret("secret"), session.NewLabel("a"))
	want := testLogin()
	value := keys.seal("name", want)
	got, err := keys.open("name", value)
	if err != nil {
		t.Fatal(err)
	}
	want.cookie = "name"
	if !reflect.DeepEqual(got, want) {
		t.Error("another login came back")
	}
	if keys.seal("name", want) == value {
		t.Error("two seals are the same")
	}
	for i := range value {
		for _, c := range []byte("A_") {
			if forged := value[:i] + string(c) + value[i+1:]; forged != value {
				if _, err := keys.open("name", forged); err == nil {
					t.Fatalf("opened with character %d changed", i)
				}
			}
		}
		if _, err := keys.open("name", value[:i]); err == nil {
			t.Fatalf("opened when cut to %d characters", i)
		}
	}
	if _, err := keys.open("another", value); err == nil {
		t.Error("opened under another name")
	}
	for _, other := range []loginSealer{
		newLoginSealer(authserver.NewSecret("older secret"), session.NewLabel("a")),
		newLoginSealer(authserver.NewSecret("secret"), session.NewLabel("b")),
	} {
		if _, err := other.open("name", value); err == nil {
			t.Error("opened with another secret or label")
		}
	}
}

func FuzzLoginCookie(f *testing.F) {
	keys := newLoginSealer(authserver.NewSecret("secret"), session.NewLabel("a"))
	want := testLogin()
	want.state, want.verifier, want.cookie = "state", authserver.NewSecret("verifier"), "name"
	f.Add(keys.seal("name", want))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, forged string) {
		// the seeds are sealed anew in each fuzzing process, so contents are compared
		if l, err := keys.open("name", forged); err == nil && !reflect.DeepEqual(l, want) {
			t.Error("a forged login cookie was opened")
		}
	})
}

// TestLoginCookieBits: a login's cookie, under way or done, is none with any
// bit of it changed, under another name, or in another block.
func TestLoginCookieBits(t *testing.T) {
	provisioned := func(change func(*Handler)) *Handler {
		return provision(t, func(h *Handler) {
			h.now = func() time.Time { return time.Unix(1_800_000_000, 0) }
			change(h)
		})
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
	done.done, done.verifier, done.sessionExpected = true, authserver.Secret{}, h.now().Add(lostSessionWindow)
	name := h.site.cookies.loginCookie(0)
	doneName := h.site.cookies.loginCookie(1)
	value, doneValue := h.site.login.logins.sealer.seal(name, underWay), h.site.login.logins.sealer.seal(doneName, done)

	counts := func(h *Handler, cookie string) (underWayCounts, doneCounts bool) {
		logins, lines := h.site.login.logins, []string{cookie}
		return logins.find(lines, underWay.state) != nil, logins.find(lines, done.state) != nil || logins.expectsSession(lines)
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
	refused("a session's name", h, h.site.cookies.session+"="+value)
	refused("a name that only begins like it", h, name+"0="+value+"; "+h.site.cookies.login+"="+doneValue)
}

// TestMarkAfterTheClockWasSetBack: the mark of a login that is done says for a minute
// that its session is expected, on every clock.
func TestMarkAfterTheClockWasSetBack(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := &login{done: true, sessionExpected: now.Add(lostSessionWindow)}
	for after, want := range map[time.Duration]bool{
		0: true, lostSessionWindow - 1: true, lostSessionWindow: false, time.Hour: false, -10 * time.Second: true, -time.Hour: false,
	} {
		if got := l.expectsSession(now.Add(after)); got != want || l.isOver(now.Add(after)) == want {
			t.Errorf("after %v: %v", after, got)
		}
	}
}
