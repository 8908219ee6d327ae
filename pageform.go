package truelayer

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
)

const (
	// pageFormLifetime is how long a visitor may read the page.
	pageFormLifetime = 30 * time.Minute
	// formCookieLifetime is longer, so that the cookie of a form outlives it.
	formCookieLifetime = time.Hour
	// maxPageForm is more bytes than the token of any form has.
	maxPageForm = 1 << 10
	// maxFormCookies bounds how many cookies with the cookie's name are tried. There
	// can be more than one only without the __Host- prefix.
	maxFormCookies = 4
)

// pageForm is what a page's form proves: that this browser was shown the page, when, and
// what it was about.
type pageForm struct {
	id      string // the same for each repetition of the form
	shown   time.Time
	subject string
	digest  string // of the text that was shown, "" if that does not matter
}

// maxFormBody bounds the body of a form.
const maxFormBody = 32 << 10

var errNoBodyOfAForm = errors.New("the body is not that of a form, or is too large")

// takeForm reads the form in a request's body, and takes it off the request: error routes
// may proxy that anywhere. What a rewrite has made of the address does not matter.
func takeForm(w http.ResponseWriter, q *request) (url.Values, error) {
	sent := *q.Request
	sent.URL, sent.Body = new(url.URL), http.MaxBytesReader(w, q.Body, maxFormBody)
	q.Body, q.ContentLength, q.TransferEncoding = http.NoBody, 0, nil
	if err := sent.ParseForm(); err != nil {
		return nil, errNoBodyOfAForm
	}
	return sent.PostForm, nil
}

// pageForms seals forms into tokens. A token is bound to a cookie of the browser, so
// that nobody else can send the form. Nothing is stored.
type pageForms struct {
	names  *cookieNames
	sealer sealer
}

// issue returns the token of a form, and has the browser keep the cookie that belongs to
// it. All tabs of a browser share one.
func (c *pageForms) issue(w http.ResponseWriter, q *request, subject, digest string) (token string) {
	secret := randomText()
	for _, kept := range c.secrets(q.cookies) {
		secret = kept
		break
	}
	c.names.set(w, c.names.form, secret, formCookieLifetime)
	plain := sealed.AppendTime(nil, q.now)
	for _, text := range []string{rand.Text(), subject, digest} {
		plain = sealed.AppendText(plain, text)
	}
	return c.sealer.seal(plain, secret)
}

// open returns the form in a token of this browser that is not too old.
func (c *pageForms) open(q *request, token string) (f pageForm, ok bool) {
	if len(token) > maxPageForm {
		return f, false
	}
	for _, secret := range c.secrets(q.cookies) {
		plain, ok := c.sealer.open(token, secret)
		if !ok {
			continue
		}
		r := sealed.NewReader(string(plain))
		f = pageForm{shown: r.Time(), id: r.Text(), subject: r.Text(), digest: r.Text()}
		age := q.now.Sub(f.shown)
		return f, r.AtEnd() && age <= pageFormLifetime && age > -pageFormLifetime
	}
	return f, false
}

// secrets returns the values of the cookies that can be ours, the last cookie first, like
// sessionSecrets.
func (c *pageForms) secrets(lines []string) (secrets []string) {
	for name, value := range cookiePairs(lines) {
		if _, ok := decodeSecret(value); ok && name == c.names.form {
			secrets = append([]string{value}, secrets...)
			secrets = secrets[:min(len(secrets), maxFormCookies)]
		}
	}
	return secrets
}
