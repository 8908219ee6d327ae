package truelayer

import (
	"crypto/rand"
	"net/http"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
)

const (
	// consentFormLifetime is how long a visitor may read the page.
	consentFormLifetime = 30 * time.Minute
	// consentCookieLifetime is longer, so that a late form is told from one without a
	// cookie only by its age.
	consentCookieLifetime = time.Hour
	// maxConsentForm is more bytes than the token of any form has.
	maxConsentForm = 1 << 10
	// maxConsentCookies bounds how many cookies with the cookie's name are tried. There
	// can be more than one only without the __Host- prefix.
	maxConsentCookies = 4
)

// consentForm is what the page's form proves: that this browser was shown the page, when,
// and with which text.
type consentForm struct {
	id       string // the same for each repetition of the form
	shown    time.Time
	provider string
	digest   string // of the text
}

// consentForms seals forms into tokens. A token is bound to a cookie of the browser, so
// that nobody else can send the form. Nothing is stored.
type consentForms struct {
	names  *cookieNames
	sealer sealer
}

// issue returns the token of a form, and has the browser keep the cookie that belongs to
// it. All tabs of a browser share one.
func (c *consentForms) issue(w http.ResponseWriter, q *request, provider, digest string) (token string) {
	secret := randomText()
	for _, kept := range c.secrets(q.cookies) {
		secret = kept
		break
	}
	c.names.set(w, c.names.consent, secret, consentCookieLifetime)
	plain := sealed.AppendTime(nil, q.now)
	for _, text := range []string{rand.Text(), provider, digest} {
		plain = sealed.AppendText(plain, text)
	}
	return c.sealer.seal(plain, secret)
}

// open returns the form in a token of this browser that is not too old.
func (c *consentForms) open(q *request, token string) (f consentForm, ok bool) {
	if len(token) > maxConsentForm {
		return f, false
	}
	for _, secret := range c.secrets(q.cookies) {
		plain, ok := c.sealer.open(token, secret)
		if !ok {
			continue
		}
		r := sealed.NewReader(string(plain))
		f = consentForm{shown: r.Time(), id: r.Text(), provider: r.Text(), digest: r.Text()}
		age := q.now.Sub(f.shown)
		return f, r.AtEnd() && age <= consentFormLifetime && age > -consentFormLifetime
	}
	return f, false
}

// secrets returns the values of the cookies that can be ours, the last cookie first, like
// sessionSecrets.
func (c *consentForms) secrets(lines []string) (secrets []string) {
	for name, value := range cookiePairs(lines) {
		if _, ok := decodeSecret(value); ok && name == c.names.consent {
			secrets = append([]string{value}, secrets...)
			secrets = secrets[:min(len(secrets), maxConsentCookies)]
		}
	}
	return secrets
}
