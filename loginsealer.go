package truelayer

import (
	"errors"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// loginLifetime is how long a visitor may spend at the bank.
const loginLifetime = 30 * time.Minute

// loginCookieLifetime is how long the cookie of a login lasts. It is longer than the
// login, so that a visitor who comes back late is told so, and not that the cookie is
// missing.
const loginCookieLifetime = 24 * time.Hour

// lostSessionWindow is how long after a login a navigation without a session gets an
// error page instead of another redirect to the bank, which would be a loop.
const lostSessionWindow = time.Minute

// login is a login that is in progress, or one that is done. It is kept only in a sealed
// cookie in the visitor's browser, so that it costs the server nothing and can be
// completed on any node, even after a restart.
type login struct {
	done bool
	// started is when the visitor was sent to the bank.
	started time.Time
	// sessionExpected is set when the login is done. A visitor who has no session
	// before this time has lost it, and another login would not help.
	sessionExpected time.Time
	// state is the OAuth 2.0 state parameter, base64url.
	state string
	// verifier is the PKCE code verifier; zero if PKCE is off or the login is done.
	verifier authserver.Secret
	// redirectURI is the one in the auth link. The exchange has to repeat it.
	redirectURI string
	// returnTo is where the visitor was going.
	returnTo string
	// provider is the bank that the auth link leads to, "" if the visitor chooses one.
	provider string
	// scopes are the scopes asked for, separated by spaces.
	scopes string
	// consentID names the consent that the visitor gave on the site's own page, "" if
	// TrueLayer asks for it.
	consentID string
	// renews is the id of the session that the login renews, "" if it renews none.
	renews string

	// cookie is the name of the cookie that held the login. It is not sealed.
	cookie string
}

// isOver reports whether a login is no longer of use.
func (l *login) isOver(now time.Time) bool {
	if l.done {
		return !l.expectsSession(now)
	}
	return now.Sub(l.started) > loginLifetime
}

// expectsSession reports whether the login was done so recently that its visitor should
// have a session. A time too far ahead was written before the clock was set back, and
// does not count.
func (l *login) expectsSession(now time.Time) bool {
	left := l.sessionExpected.Sub(now)
	return l.done && left > 0 && left <= 2*lostSessionWindow
}

// loginSealer seals logins into cookies.
type loginSealer struct{ sealer }

func newLoginSealer(secret authserver.Secret, l session.Label) loginSealer {
	return loginSealer{newSealer(secret, "login cookie v4", l)}
}

// maxLoginCookie is more bytes than the value of any login cookie has.
const maxLoginCookie = 5 << 10

// seal returns the value of the cookie with the given name. It can be opened only under
// that name.
func (k loginSealer) seal(name string, l *login) string {
	plain := sealed.AppendFlag(nil, l.done)
	plain = sealed.AppendTime(plain, l.started)
	plain = sealed.AppendTime(plain, l.sessionExpected)
	for _, text := range []string{l.state, l.verifier.Reveal(), l.redirectURI, l.returnTo, l.provider, l.scopes, l.consentID, l.renews} {
		plain = sealed.AppendText(plain, text)
	}
	return k.sealer.seal(plain, name)
}

var errBadLogin = errors.New("the login cookie cannot be opened")

func (k loginSealer) open(name, value string) (*login, error) {
	if len(value) > maxLoginCookie {
		return nil, errBadLogin
	}
	plain, ok := k.sealer.open(value, name)
	if !ok {
		return nil, errBadLogin
	}
	r := sealed.NewReader(string(plain))
	l := &login{
		done:            r.Flag(),
		started:         r.Time(),
		sessionExpected: r.Time(),
		state:           r.Text(),
		verifier:        r.Secret(),
		redirectURI:     r.Text(),
		returnTo:        r.Text(),
		provider:        r.Text(),
		scopes:          r.Text(),
		consentID:       r.Text(),
		renews:          r.Text(),
		cookie:          name,
	}
	if !r.AtEnd() {
		return nil, errBadLogin
	}
	return l, nil
}
