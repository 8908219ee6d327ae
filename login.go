package truelayer

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// loginFlow takes visitors to their bank and back.
type loginFlow struct {
	*failures
	sessions *session.Manager
	cookies  *cookieNames
	logins   *loginCookies
	link     authserver.AuthorizationRequest // without what differs with each login
	pkce     bool
	issuer   string
	logger   *zap.Logger
	now      func() time.Time
}

// randomText returns 32 random bytes in base64url, which is what RFC 7636
// section 4.1 recommends for a code verifier.
func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// admit answers a protected request without a session. Only a person who opens
// a page is sent to the bank.
func (f *loginFlow) admit(w http.ResponseWriter, q *request) error {
	returnTo := f.addresses.returnTarget(q.target())
	if q.whoAsks() != navigation {
		return f.refuse(w, q, returnTo)
	}
	if f.logins.expectSession(q.cookies) {
		lost := failure{reason: sessionLost, returnTo: returnTo}
		if len(q.own.sessions()) > 0 {
			lost.reason, lost.cause = sessionUnknown, errSessionUnknown
		}
		return f.fail(w, q, lost)
	}
	if f.addresses.isElsewhere(q.Host) {
		return f.move(w, q, returnTo)
	}
	f.prepare(w, q.Request)
	return f.start(w, q, returnTo, "")
}

var errSessionUnknown = errors.New("the browser brought a session that the store does not have: do all instances of this site share a store, and does it keep what it is given?")

// start sends the visitor to a newly made auth link, if provider is not ""
// straight to that bank.
func (f *loginFlow) start(w http.ResponseWriter, q *request, returnTo, provider string) error {
	l := &login{
		started:     q.now,
		state:       randomText(),
		redirectURI: f.link.RedirectURI,
		returnTo:    returnTo,
	}
	if f.pkce {
		l.verifier = authserver.NewSecret(randomText())
	}
	f.logins.prune(w, q.cookies)
	f.logins.keep(w, q.cookies, l)

	link := f.link
	link.State = l.state
	if link.ProviderID == "" {
		link.ProviderID = provider
	}
	link.Verifier = l.verifier
	f.seeOther(w, f.sessions.Client.AuthLink(link))
	return nil
}

// serveLogin is the login URL: <redirect path>/login?return=<path>.
func (f *loginFlow) serveLogin(w http.ResponseWriter, q *request) error {
	if q.Method != http.MethodGet {
		return f.notAllowed(w, q, http.MethodGet)
	}
	returnTo := "/"
	query, err := url.ParseQuery(q.query())
	if err == nil && len(query["return"]) == 1 {
		returnTo = f.addresses.returnTarget(query.Get("return"))
	}
	if fetch := q.Header.Get("Sec-Fetch-Mode"); fetch != "" && q.whoAsks() != navigation {
		// an image tag or a frame must not start logins
		return f.refuse(w, q, returnTo)
	}
	s, err := f.sessions.Find(q.Context(), q.own.sessions(), q.now)
	if err != nil {
		return f.fail(w, q, failureOf(err))
	}
	switch {
	case s != nil && !s.IsOver(q.now) && !f.sessions.HasNoToken(s, q.now):
		f.seeOther(w, returnTo)
		return nil
	case f.addresses.isElsewhere(q.Host) && !query.Has(movedParam):
		return f.move(w, q, returnTo)
	case s != nil:
		return f.start(w, q, returnTo, s.Provider) // the bank that was connected before
	}
	return f.start(w, q, returnTo, "")
}

// movedParam marks a login URL to which a visitor of another host was sent.
const movedParam = "moved"

// move sends a visitor to the login URL on the redirect URI's host. The mark in
// it begins the login there whatever host it is asked for with, so that a proxy in
// front which changes the host costs one more redirect and no loop.
func (f *loginFlow) move(w http.ResponseWriter, q *request, returnTo string) error {
	f.logger.Info("a visitor of another host was sent to the redirect URI's to log in",
		zap.String("host", cut(hostname(q.Host))), zap.String("redirect_host", f.addresses.host))
	f.prepare(w, q.Request)
	query := url.Values{movedParam: {"1"}}
	if returnTo != "/" {
		query.Set("return", returnTo)
	}
	f.seeOther(w, f.addresses.origin+f.addresses.login+"?"+query.Encode())
	return nil
}

// tellOver answers a request whose connection is over: a visitor is told
// once, and then sent to the same bank again.
func (f *loginFlow) tellOver(w http.ResponseWriter, q *request, s *session.Session) error {
	returnTo := f.addresses.returnTarget(q.target())
	person := q.whoAsks() == navigation
	if person && s.Told {
		return f.start(w, q, returnTo, s.Provider)
	}
	f.sessions.MarkOver(context.WithoutCancel(q.Context()), s, person)
	return f.fail(w, q, failure{reason: consentExpired, returnTo: returnTo})
}
